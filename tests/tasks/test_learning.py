"""A few dozen steps teach a model of every task what no other model knows.

The embedded data set at its easiest and a small network: seconds on one thread. The figure of
unseen images is held against that of the same network before training, and after as many steps
with the same images and each the targets of another one.
"""

from typing import NamedTuple

import pytest
import torch
from builds import build, composed

SMALL = (
    "trainer=cpu",
    "trainer.max_epochs=1",  # of several rounds through the samples, to validate but once
    "logger=csv",
    "dataset.workers=0",
    "dataset.level=easy",
    "+backbone.depths=[1,1,1,1]",
    "+backbone.dims=[24,48,96,128]",
    "optim.warmup_steps=6",
)


class Lesson(NamedTuple):
    """What is learned in how many rounds, and the figure that only a model that has reaches."""

    settings: tuple[str, ...]
    rounds: int
    figure: str
    learned: float
    ignorant: float


LESSONS = {
    "cls": Lesson(
        (
            "dataset.counts={train:256,val:200,test:1}",
            "dataset.image_size=24",
            "dataset.batch_size=32",
            "optim.lr=3e-3",
        ),
        rounds=8,
        figure="val/top1",
        learned=0.25,
        ignorant=0.15,
    ),
    "seg": Lesson(
        (
            "dataset.counts={train:96,val:40,test:1}",
            "dataset.image_size=32",
            "dataset.objects=[1,1]",
            "dataset.batch_size=8",
            "task.auxiliary_head=null",
            "optim.lr=4e-3",
        ),
        rounds=7,
        figure="val/macc",
        learned=0.15,
        ignorant=0.13,
    ),
    "det": Lesson(
        (
            "dataset.counts={train:48,val:40,test:1}",
            "dataset.image_size=64",
            "backbone.stem_stride=4",
            "dataset.batch_size=8",
            "detector=faster_rcnn",
            "task.channels=16",
            "task.width=64",
            "task.proposals=50",
            "task.samples=32",
            "optim.lr=4e-3",
        ),
        rounds=9,
        figure="val/box_ap50",
        learned=0.05,
        ignorant=0.02,
    ),
}


def kept(samples):
    """The samples of a data set, drawn once."""
    return [samples[index] for index in range(len(samples))]


def with_targets_of_others(samples):
    """The images of some samples, each with the target of another one."""
    generator = torch.Generator().manual_seed(0)
    others = torch.randperm(len(samples), generator=generator).tolist()
    return [
        {**samples[other], "image": sample["image"]}
        for sample, other in zip(samples, others, strict=True)
    ]


def validated(job, lesson):
    (figures,) = job.trainer.validate(job.task, datamodule=job.data, verbose=False)
    return figures[lesson.figure]


@pytest.mark.parametrize("task", LESSONS)
def test_a_model_learns_from_its_targets(task, tmp_path):
    lesson = LESSONS[task]
    config = composed(f"task={task}", *SMALL, *lesson.settings)
    jobs = {name: build(config, tmp_path / name) for name in ("untrained", "misled", "learned")}
    samples = kept(jobs["learned"].data.split("train"))
    jobs["learned"].data._cache["train"] = lesson.rounds * samples
    jobs["misled"].data._cache["train"] = lesson.rounds * with_targets_of_others(samples)
    for name in ("misled", "learned"):
        jobs[name].trainer.fit(jobs[name].task, datamodule=jobs[name].data)
        assert 50 <= jobs[name].trainer.global_step <= 100
    found = {name: validated(job, lesson) for name, job in jobs.items()}
    assert found["learned"] > lesson.learned, found
    assert max(found["untrained"], found["misled"]) < lesson.ignorant, found
