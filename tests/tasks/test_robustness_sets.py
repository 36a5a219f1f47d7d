"""Published robustness sets on a disk, as tiny trees."""

import pytest
from PIL import Image
from timm.data import ImageNetInfo

from tasks.data.images import read_array
from tasks.errors import DatasetError, SettingError
from tasks.robustness.cells import Cell
from tasks.robustness.corruptions import CORRUPTIONS, EXTRA, SEVERITIES
from tasks.robustness.published.layouts import BAR_CORRUPTIONS, LAYOUTS
from tasks.robustness.published.sets import find_sets
from tasks.robustness.published.subsets import class_subset

SYNSETS = ImageNetInfo().label_names()
KEYS = ("val", "c", "a", "r", "sketch", "v2", "c_bar")
FIRST_TWO = tuple(f"{name}/x.JPEG" for name in SYNSETS[:2])
VARIANTS = ("matched-frequency", "threshold0.7", "top-images")


def write(folder, *files):
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_corruption(folder, levels=SEVERITIES):
    for level in levels:
        write(folder / str(level), *FIRST_TWO)


def names(found):
    return [files.cell.name for files in found.cells]


def labels(files):
    return [(image.name, image.label) for image in files.images]


def only(found):
    (files,) = found.cells
    return files


@pytest.mark.parametrize("place", ["imagenet/val", "val"])
def test_clean_images_lie_in_imagenet_or_directly_under_the_root(tmp_path, place):
    folder = tmp_path / place / SYNSETS[3]
    folder.mkdir(parents=True)
    Image.new("RGB", (8, 6), (200, 10, 10)).save(folder / "x.JPEG", format="JPEG")
    files = only(find_sets(tmp_path, dict.fromkeys(KEYS)))
    assert (files.cell, files.expected) == (Cell("clean"), 50_000)
    assert labels(files) == [(f"{SYNSETS[3]}/x.JPEG", 3)]
    assert files.images[0].path == str(folder / "x.JPEG")
    assert read_array(files.images[0].path).shape == (6, 8, 3)


def test_images_are_sorted_by_label_and_name_and_other_files_ignored(tmp_path):
    val = tmp_path / "val"
    write(val / SYNSETS[9], "b.JPEG", "a.png", ".hidden.jpg", "._b.JPEG", "Thumbs.db", "c.txt")
    write(val / SYNSETS[2], "z.TIFF", "y.jpeg", "x.webp", "w.BMP", "v.tif", "u.JPG")
    write(val, "wnids.txt", ".cache/x.jpg")
    files = only(find_sets(tmp_path, {}))
    second = [f"{SYNSETS[2]}/{n}" for n in ("u.JPG", "v.tif", "w.BMP", "x.webp", "y.jpeg")]
    assert labels(files) == [
        *((name, 2) for name in [*second, f"{SYNSETS[2]}/z.TIFF"]),
        (f"{SYNSETS[9]}/a.png", 9),
        (f"{SYNSETS[9]}/b.JPEG", 9),
    ]
    assert not [note for note in files.notes() if "left out" in note]


def test_labels_of_all_thousand_folders_are_those_of_imagenet(tmp_path):
    write(tmp_path / "imagenet-sketch", *(f"{name}/x.JPEG" for name in SYNSETS))
    files = only(find_sets(tmp_path, {}))
    assert labels(files) == [(f"{name}/x.JPEG", i) for i, name in enumerate(SYNSETS)]
    assert files.notes() == ("1,000 of 50,889 images",)


def test_a_complete_cell_has_no_notes_and_a_fuller_one_says_so(tmp_path):
    folder = tmp_path / "imagenetv2-top-images-format-val"
    write(folder, *(f"{label}/{i}.jpeg" for label in range(1000) for i in range(10)))
    assert only(find_sets(tmp_path, {})).notes() == ()
    write(folder, "7/10.jpeg")
    assert only(find_sets(tmp_path, {})).notes() == (
        "10,001 images, more than the published 10,000",
    )


def test_missing_empty_and_unknown_class_folders_are_noted_and_left_out(tmp_path):
    val = tmp_path / "val"
    write(val, *(f"{name}/x.JPEG" for name in SYNSETS[9:]), "n00000000/x.JPEG", "other/x.JPEG")
    (val / SYNSETS[0]).mkdir()
    files = only(find_sets(tmp_path, {}))
    assert [image.label for image in files.images] == list(range(9, 1000))
    assert files.notes() == (
        f"8 of 1000 class folders missing: {', '.join(SYNSETS[1:7])} and 2 more",
        f"1 of 1000 class folders without an image: {SYNSETS[0]}",
        "left out, being no classes of this set: n00000000, other",
        "991 of 50,000 images",
    )


@pytest.mark.parametrize(("key", "expected"), [("a", 7_500), ("r", 30_000)])
def test_sets_of_two_hundred_classes_have_labels_among_the_thousand(tmp_path, key, expected):
    subset = class_subset(f"imagenet_{key}")
    foreign = next(name for name in SYNSETS if name not in subset.synsets)
    folder = tmp_path / f"imagenet-{key}"
    write(folder, *(f"{name}/0.jpg" for name in [*subset.synsets, foreign]), "README.txt")
    files = only(find_sets(tmp_path, {}))
    assert (files.cell, files.expected) == (Cell(f"imagenet-{key}"), expected)
    assert [image.label for image in files.images] == list(subset.indices)
    assert files.notes() == (
        f"left out, being no classes of this set: {foreign}",
        f"200 of {expected:,} images",
    )


def test_folders_of_v2_are_numbers_and_not_sorted_as_text(tmp_path):
    for variant in VARIANTS:
        folder = tmp_path / f"imagenetv2-{variant}-format-val"
        write(folder, "10/b.jpeg", "10/a.jpeg", "9/x.jpeg", "999/x.jpeg", "0/x.jpeg", "1000/x.jpeg")
    found = find_sets(tmp_path, {})
    assert names(found) == [f"imagenetv2-{variant}" for variant in VARIANTS]
    for files in found.cells:
        assert [label for _, label in labels(files)] == [0, 9, 10, 10, 999]
        assert files.images[2].name == "10/a.jpeg"
        assert files.expected == 10_000
        assert "left out, being no classes of this set: 1000" in files.notes()


def test_variants_of_v2_may_lie_in_a_folder_of_their_own(tmp_path):
    inner = tmp_path / "imagenetv2" / "imagenetv2-threshold0.7-format-val"
    write(inner, "3/x.jpeg")
    for found in (
        find_sets(tmp_path, {}),
        find_sets(None, {"v2": str(inner)}),
        find_sets(None, {"v2": str(inner.parent)}),
    ):
        assert names(found) == ["imagenetv2-threshold0.7"]
        assert "imagenetv2-top-images" in found.missing


def test_a_variant_of_v2_that_cannot_be_told_is_an_error(tmp_path):
    write(tmp_path / "imagenetv2", "0/x.jpeg")
    wanted = r"found 0/\. Expected one of imagenetv2-matched-frequency-format-val(.|\n)*paths\.v2"
    with pytest.raises(DatasetError, match=wanted):
        find_sets(tmp_path, {})
    with pytest.raises(DatasetError, match=wanted):
        find_sets(None, {"v2": str(tmp_path / "imagenetv2")})


def test_a_whole_imagenet_c_is_found_in_published_order(tmp_path):
    for name in (*EXTRA, *CORRUPTIONS):
        write_corruption(tmp_path / "imagenet-c" / name)
    found = find_sets(tmp_path, {})
    wanted = [(name, level) for name in (*CORRUPTIONS, *EXTRA) for level in SEVERITIES]
    assert [files.cell[1:] for files in found.cells] == wanted
    assert found.notes == ()
    assert found.cells[4].cell.name == "imagenet-c/gaussian_noise/5"
    assert labels(found.cells[4]) == [(name, i) for i, name in enumerate(FIRST_TWO)]
    assert {files.expected for files in found.cells} == {50_000}


def test_groups_above_the_corruptions_may_be_there_or_not(tmp_path):
    folder = tmp_path / "imagenet-c"
    write_corruption(folder / "noise" / "shot_noise", (1, 2))
    write_corruption(folder / "extra" / "spatter", (5,))
    write_corruption(folder / "fog", (4, 3))
    write_corruption(folder / "weather" / "fog", (1, 4))
    found = find_sets(tmp_path, {})
    assert names(found) == [
        *(f"imagenet-c/{name}" for name in ("shot_noise/1", "shot_noise/2")),
        *(f"imagenet-c/{name}" for name in ("fog/1", "fog/3", "fog/4", "spatter/5")),
    ]
    assert found.cells[2].folder == folder / "weather" / "fog" / "1"
    assert found.cells[4].folder == folder / "fog" / "4"
    twice = f"imagenet-c/weather/fog/4: left out, {folder}/fog/4 being the same cell"
    assert twice in found.notes


def test_missing_corruptions_severities_and_unknown_folders_are_noted(tmp_path):
    folder = tmp_path / "imagenet-c"
    for name in CORRUPTIONS[:13]:
        write_corruption(folder / name)
    write(folder / "frost" / "6", *FIRST_TWO)
    write(folder / "snow" / "strong", *FIRST_TWO)
    (folder / "fog" / "2" / FIRST_TWO[0]).unlink()
    (folder / "fog" / "2" / FIRST_TWO[1]).unlink()
    write_corruption(folder / "rain")
    write_corruption(folder / "blur" / "smear")
    write(folder, "README.md")
    found = find_sets(tmp_path, {})
    assert found.notes == (
        "imagenet-c: 2 of 15 corruptions missing: pixelate, jpeg_compression",
        f"imagenet-c: 4 of 4 extra corruptions missing: {', '.join(EXTRA)}",
        "imagenet-c: left out, being no corruptions: rain, blur/smear",
        "imagenet-c/snow: left out, no severities: strong",
        "imagenet-c/frost: left out, no severities: 6",
        "imagenet-c/fog/2: left out, no class folder with an image in it",
        "imagenet-c/fog: missing severities: 2",
    )
    assert len(found.cells) == 13 * 5 - 1


def test_strengths_of_c_bar_are_sorted_as_numbers_and_numbered(tmp_path):
    folder = tmp_path / "imagenet-c-bar"
    write_corruption(folder / "plasma_noise", ("10.00", "9.25", "4.75", "8.50", "7.00"))
    write_corruption(folder / "brownish_noise", (1, 2, 4, 5))
    write(folder / "plasma_noise" / "nan", *FIRST_TWO)
    found = find_sets(tmp_path, {})
    assert [(files.cell.severity, files.folder.name) for files in found.cells] == [
        *((level, str(level)) for level in (1, 2, 4, 5)),
        *enumerate(("4.75", "7.00", "8.50", "9.25", "10.00"), 1),
    ]
    assert found.cells[0].cell == Cell("imagenet-c-bar", "brownish_noise", 1)
    absent = [name for name in BAR_CORRUPTIONS if name not in ("plasma_noise", "brownish_noise")]
    assert found.notes == (
        f"imagenet-c-bar: 8 of 10 corruptions missing: {', '.join(absent)}",
        "imagenet-c-bar/brownish_noise: missing severities: 3",
        "imagenet-c-bar/plasma_noise: left out, no severities: nan",
    )


def test_all_sets_are_found_in_the_order_of_reports_and_the_others_named(tmp_path):
    write(tmp_path / "val", *FIRST_TWO)
    write_corruption(tmp_path / "imagenet-c" / "fog", (3,))
    write(tmp_path / "imagenet-a" / "n01498041", "x.jpg")
    write(tmp_path / "imagenet-sketch", *FIRST_TWO)
    write(tmp_path / "imagenetv2-top-images-format-val", "0/x.jpeg")
    write_corruption(tmp_path / "imagenet-c-bar" / "sparkles", (2,))
    found = find_sets(tmp_path, {})
    assert names(found) == [
        "clean",
        "imagenet-c/fog/3",
        "imagenet-a",
        "imagenet-sketch",
        "imagenetv2-top-images",
        "imagenet-c-bar/sparkles/2",
    ]
    assert list(found.missing) == [
        "imagenet-r",
        "imagenetv2-matched-frequency",
        "imagenetv2-threshold0.7",
    ]
    assert found.missing["imagenet-r"] == "imagenet-r/n01443537/*.jpg"


def test_a_path_of_its_own_goes_before_the_root(tmp_path):
    write(tmp_path / "root" / "val", *FIRST_TWO)
    write(tmp_path / "elsewhere", FIRST_TWO[1])
    paths = {"val": str(tmp_path / "elsewhere"), "c": None, "a": ""}
    for root in (tmp_path / "root", None):
        assert labels(only(find_sets(root, paths))) == [(FIRST_TWO[1], 1)]


@pytest.mark.parametrize("key", KEYS)
def test_a_path_that_is_not_there_is_an_error_that_names_its_setting(tmp_path, key):
    write(tmp_path / "val", *FIRST_TWO)
    tree = next(layout.tree for layout in LAYOUTS if layout.key == key)
    with pytest.raises(DatasetError) as raised:
        find_sets(tmp_path, {key: str(tmp_path / "nowhere")})
    message = str(raised.value)
    assert f"dataset.paths.{key}={tmp_path / 'nowhere'} is not a folder" in message
    assert tree in message
    assert f"dataset.paths.{key}=null" in message


def test_an_unknown_path_setting_is_named_with_the_known_ones():
    with pytest.raises(SettingError, match=r"no cbar\. .*val, c, a, r, sketch, v2, c_bar"):
        find_sets(None, {"cbar": "x"})


@pytest.mark.parametrize("key", ["val", "c", "a", "r", "sketch", "c_bar"])
def test_a_set_in_which_nothing_matches_is_an_error(tmp_path, key):
    write(tmp_path / "set", "dogs/x.jpg", "cats/x.jpg", "x.jpg")
    with pytest.raises(DatasetError) as raised:
        find_sets(None, {key: str(tmp_path / "set")})
    message = str(raised.value)
    assert "found cats/, dogs/, x.jpg. Expected imagenet" in message
    assert f"dataset.paths.{key}" in message


def test_class_folders_of_v2_that_are_no_numbers_are_an_error(tmp_path):
    write(tmp_path / "imagenetv2-top-images-format-val", *FIRST_TWO)
    with pytest.raises(DatasetError, match=f"found {SYNSETS[0]}/(.|\n)*class folders 0 to 999"):
        find_sets(tmp_path, {})


def test_class_folders_without_images_are_no_set(tmp_path):
    (tmp_path / "val" / SYNSETS[0]).mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"val has no image where clean has them"):
        find_sets(tmp_path, {})


def test_nothing_found_lists_trees_settings_and_what_the_root_holds(tmp_path):
    write(tmp_path, "ILSVRC/x.txt", "notes.txt")
    with pytest.raises(DatasetError) as raised:
        find_sets(tmp_path, {})
    message = str(raised.value)
    assert f"dataset.root={tmp_path} holds ILSVRC/, notes.txt" in message
    for layout in LAYOUTS:
        assert f"{layout.collection} (dataset.paths.{layout.key}): {layout.tree}" in message
    assert "Set dataset.root=" in message
    with pytest.raises(DatasetError, match=r"dataset\.root is not set(.|\n)*paths\.c="):
        find_sets(None, {})


def test_a_root_that_is_not_there_is_an_error_even_beside_a_path(tmp_path):
    write(tmp_path / "val", *FIRST_TWO)
    with pytest.raises(DatasetError, match=r"dataset\.root=.*nowhere is not a folder"):
        find_sets(tmp_path / "nowhere", {"val": str(tmp_path / "val")})


def test_a_folder_is_listed_once_and_again_after_it_was_forgotten(tmp_path):
    write(tmp_path / "val", FIRST_TWO[0])
    files = only(find_sets(tmp_path, {}))
    assert len(files.images) == 1
    write(tmp_path / "val", f"{SYNSETS[0]}/y.JPEG")
    assert len(files.images) == 1
    files.forget()
    assert len(files.images) == 2


def test_a_folder_that_vanishes_is_an_error_that_names_it(tmp_path):
    write(tmp_path / "val", FIRST_TWO[0])
    files = only(find_sets(tmp_path, {}))
    (tmp_path / "val").rename(tmp_path / "away")
    with pytest.raises(DatasetError, match=r"val cannot be listed: No such file"):
        files.images  # noqa: B018
