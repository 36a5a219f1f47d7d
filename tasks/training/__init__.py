"""What every task shares: the task base, optimization, data loading and the trainer."""
