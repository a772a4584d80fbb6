"""What the scheduler may ask of billing: each job finds due work and does it."""

from metering.kit.jobruns import Job

JOBS: tuple[Job, ...] = ()
