"""Each setting is set in one place, and reaches everything that needs it."""

import pytest
from builds import composed, with_derived
from commands import refused
from detection import DET_SHAPES
from omegaconf import OmegaConf
from segmentation import SEG_SHAPES

from tasks.build import build_data
from tasks.config.derived import check_one_place
from tasks.errors import SettingError

PLACES = [
    ("task=cls", "dataset.image_size=48", ("dataset.recipe.image_size",)),
    ("task=seg", "dataset.image_size=48", ("dataset.recipe.image_size",)),
    ("task=det", "dataset.image_size=96", ("dataset.side",)),
    ("task=seg", "tta=ms_flip", ("task.inference.tta", "dataset.recipe.tta")),
    ("task=seg", "eval=slide", ("task.inference.mode",)),
    ("task=det", "detector=faster_rcnn", ("task.detector", "dataset.detector")),
]


@pytest.mark.parametrize(("task", "setting", "places"), PLACES)
def test_a_setting_reaches_all_that_follow_it_and_these_cannot_be_set(task, setting, places):
    name, _, value = setting.partition("=")
    config = composed(task, setting)
    check_one_place(config)
    for place in places:
        assert OmegaConf.select(config, place) is None
        assert str(OmegaConf.select(with_derived(config), place)) == value
        with pytest.raises(SettingError, match=rf"{place}=.* cannot be set.* Set {name}="):
            check_one_place(composed(task, f"+{place}={value}"))


def test_the_data_reads_what_inference_wants():
    data = build_data(composed("task=seg", "tta=ms_flip", "dataset.counts={train:2,val:2,test:2}"))
    assert len(data.split("test")[0]["views"]) == 6
    data = build_data(composed("task=det", "detector=faster_rcnn"))
    assert not data.masks


def test_the_stem_follows_the_dataset_unless_it_is_set():
    assert composed().backbone.stem_stride == 2
    assert composed("backbone.stem_stride=1").backbone.stem_stride == 1
    assert composed("dataset=imagefolder", "dataset.root=x").backbone.stem_stride == 4
    with pytest.raises(SettingError, match=r"Set backbone\.stem_stride=4"):
        check_one_place(composed("+dataset.stem_stride=4"))


def test_a_second_place_is_refused_in_one_line(run):
    """Where it was taken until now, and ended in an IndexError."""
    ended = run(*SEG_SHAPES, "+task.inference.tta=ms_flip")
    refused(ended, "task.inference.tta=ms_flip cannot be set: it follows tta. Set tta=ms_flip.")
    ended = run(*SEG_SHAPES, "task.inference.tta=ms_flip")
    assert ended.code == 1
    assert "task.inference.tta" in ended.err
    assert "Traceback" not in ended.err
    ended = run(*DET_SHAPES, "+task.detector=faster_rcnn")
    refused(ended, "Set detector=faster_rcnn.")
    assert not ended.folders


@pytest.mark.parametrize("setting", ["tta=flip", "eval=slide", "detector=mask_rcnn"])
def test_a_setting_of_another_task_is_refused(setting):
    with pytest.raises(SettingError, match=f"{setting} is no setting of task=cls"):
        check_one_place(composed(setting))
