"""Tar files of images and labels, as the webdataset project lays them out: where, and how many."""

import json
import os
import tarfile
from collections.abc import Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

from webdataset.gopen import gopen
from webdataset.shardlists import expand_urls
from webdataset.tariterators import base_plus_ext

from tasks.errors import DatasetError

LAYOUT = (
    "<dataset.root>/   a folder, or a URL such as https://host/folder\n"
    "  imagenet1k-train-0000.tar ...        <key>.jpg and <key>.cls (a class number) by turns\n"
    "  imagenet1k-validation-00.tar ...\n"
    '  _info.json (as timm writes it) or sizes.json ({"<shard>.tar": <samples>, ...})\n'
    "dataset.splits.train and .val name the shards: imagenet1k-train-{0000..1023}.tar."
)
_HEADER = 512
"""Bytes of a header, and of the blocks that contents fill up."""
_INDICES = ("_info.json", "sizes.json")


class TarShard(NamedTuple):
    """A tar file and the number of its samples."""

    url: str
    samples: int


def find_shards(root: str, pattern: str | None) -> list[TarShard]:
    """The shards of a split in the order of their names' expansion.

    Sizes come from an index file beside the shards; local shards that are in none are counted by
    their headers.

    Args:
        root: a folder, or the beginning of URLs.
        pattern: file names with braces to expand, such as ``train-{0000..1023}.tar``.

    Raises:
        DatasetError: no pattern, a wrong one, shards that are not there, or of unknown size.
    """
    if not pattern:
        raise DatasetError(f"A pattern of dataset.splits is empty. Expected:\n{LAYOUT}")
    local = not urlparse(root).scheme
    base = str(Path(root).expanduser()) if local else root.rstrip("/")
    try:
        urls = [f"{base}/{name}" for name in expand_urls(pattern)]
    except ValueError as error:  # of braces that do not match
        raise DatasetError(
            f"{pattern} in dataset.splits cannot be expanded: {error}. Expected:\n{LAYOUT}"
        ) from error
    sizes = _sizes(base, local)
    if local:
        _check_files(urls, Path(base))
        return [TarShard(url, sizes.get(_name(url)) or count_samples(Path(url))) for url in urls]
    unknown = [url for url in urls if _name(url) not in sizes]
    if unknown:
        raise DatasetError(
            f"The number of samples of {len(unknown)} of {len(urls)} shards is unknown, such as "
            f"{unknown[0]}: an index at {base}/{_INDICES[0]} or {_INDICES[1]} must tell it. "
            f"Expected:\n{LAYOUT}"
        )
    return [TarShard(url, sizes[_name(url)]) for url in urls]


def count_samples(path: Path) -> int:
    """Number of samples of a local shard, by the headers of its files alone.

    Raises:
        DatasetError: it is no tar file, or ends within a header.
    """
    try:
        names = _plain_names(path)
        if names is None:
            with tarfile.open(path) as shard:
                names = [member.name for member in shard if member.isfile()]
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read as a tar file: {error}. Fetch it again, or leave it out of "
            "dataset.splits."
        ) from error
    keys = (base_plus_ext(name)[0] for name in names)
    return sum(1 for key, _ in groupby(keys) if key is not None)


def _plain_names(path: Path) -> list[str] | None:
    """Names of the files of a shard, or None if it is more than plain headers and contents.

    `tarfile` needs half a second for a shard of ImageNet, which has a thousand of them.
    """
    names = []
    with path.open("rb", buffering=0) as file:
        while (header := file.read(_HEADER)).strip(b"\0"):
            kind, size = header[156:157], header[124:135].strip(b" \0")
            if (
                len(header) < _HEADER
                or header[257:262] != b"ustar"
                or kind not in (b"0", b"5")
                or not size.isdigit()
            ):
                return None  # compressed, long names, sparse files, more than 8 GB
            if kind == b"0":
                above = header[345:500] if header[262:263] == b"\0" else b""  # GNU has times there
                parts = (part.split(b"\0", 1)[0] for part in (above, header[:100]))
                names.append(b"/".join(filter(None, parts)).decode(errors="replace"))
            file.seek(-(-int(size, 8) // _HEADER) * _HEADER, os.SEEK_CUR)
    return names


def _check_files(urls: Sequence[str], root: Path) -> None:
    missing = [url for url in urls if not Path(url).is_file()]
    if not missing:
        return
    found = sorted(path.name for path in root.glob("*.tar")) if root.is_dir() else []
    there = f"{found[0]} to {found[-1]}, {len(found)} tar files" if found else "no tar file"
    raise DatasetError(
        f"{len(missing)} of {len(urls)} shards are not there, such as {missing[0]}; {root} holds "
        f"{there}. Set dataset.root and dataset.splits. Expected:\n{LAYOUT}"
    )


def _sizes(base: str, local: bool) -> dict[str, int]:
    """Samples by name of shard, as far as an index tells."""
    for name in _INDICES:
        url = f"{base}/{name}"
        if local and not Path(url).is_file():
            continue
        try:
            with closing(gopen(url)) as file:
                content = json.loads(file.read())
        except (OSError, ValueError) as error:
            if local:
                raise DatasetError(f"{url} is no readable JSON: {error}. Mend it.") from error
            continue  # a URL that is not there
        return _sizes_in(content, url)
    return {}


def _sizes_in(content: object, url: str) -> dict[str, int]:
    try:
        assert isinstance(content, dict)
        if "splits" not in content:
            return {_name(key): int(value) for key, value in content.items()}
        return {
            _name(name): int(size)
            for split in content["splits"].values()
            for name, size in zip(split["filenames"], split["shard_lengths"], strict=True)
        }
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{url} does not tell the sizes of shards ({type(error).__name__}: {error}). Expected "
            'timm\'s _info.json, or sizes.json: {"<shard>.tar": <samples>, ...}.'
        ) from error


def _name(url: str) -> str:
    return url.rsplit("/", 1)[-1]
