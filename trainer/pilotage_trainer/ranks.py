"""Several processes, one batch: each describes its share, all see all descriptors, gradients come out as of one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Ranks:
    """Who this process is among how many. Alone, nothing here does anything."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls, device: torch.device) -> Ranks:
        """Join the others that `torchrun` started, if it did."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        if not dist.is_initialized():
            if device.type == "cuda":
                torch.cuda.set_device(device)  # or all would speak through the first one
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), count)

    def leave(self) -> None:
        """Take leave of the others, at the end of a run."""
        if self.count > 1:
            dist.barrier()
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all ranks, in order; the gradient of the own rows flows back (see `average`)."""
        if self.count == 1:
            return rows
        out: Tensor = _Gather.apply(rows, self.rank, self.count)  # type: ignore[no-untyped-call]
        return out

    def average(self, parameters: list[Tensor]) -> None:
        """Average the gradients over the ranks."""
        if self.count == 1:
            return
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in parameters]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        parts = torch.split(flat / self.count, [p.numel() for p in parameters])
        for p, part in zip(parameters, parts, strict=True):
            p.grad = part.view_as(p)

    def collect(self, value: Any) -> list[Any]:
        """Return every rank's value."""
        if self.count == 1:
            return [value]
        out: list[Any] = [None] * self.count
        dist.all_gather_object(out, value)
        return out


class _Gather(torch.autograd.Function):
    """all_gather. Every rank computes the same loss of all rows, so each has the whole gradient of its own rows.

    Times the number of ranks, because gradients are then averaged: parameters of the loss, which every rank has whole,
    must not be summed.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, rank: int, count: int) -> Tensor:
        ctx.rank, ctx.count, ctx.rows = rank, count, len(rows)
        parts = [torch.empty_like(rows) for _ in range(count)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        start = ctx.rank * ctx.rows
        return gradients[0][start : start + ctx.rows] * ctx.count, None, None
