"""Settings of an optimization without any extra."""

from tasks.engine.optimization import Optimization

SETTINGS = Optimization(
    lr=1.0,
    weight_decay=0.05,
    betas=(0.9, 0.999),
    eps=1e-8,
    schedule="cosine",
    power=1.0,
    milestones=[],
    gamma=0.1,
    warmup_epochs=0,
    warmup_steps=0,
    warmup_start=0.0,
    min_lr=0.0,
    layer_decay=1.0,
    layer_scheme="layer_wise",
    layer_count=6,
    positions="intended",
    repulsion_start_epoch=None,
    ema_decay=None,
)
