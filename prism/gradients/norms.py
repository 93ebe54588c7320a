"""Frobenius norm of a linear layer's weight gradient, from its input and its output gradient.

For ``y = x W^T`` the gradient of the loss is ``dL/dW = B^T A`` with A the inputs (tokens x d_in) and B the gradients of
the outputs (tokens x d_out). Its squared Frobenius norm is

* direct: ``sum((B^T A)^2)``, 2 T d_in d_out FLOPs;
* Gram (the "ghost norm" of differentially private training): ``sum((A A^T) * (B B^T))``, about T^2 (d_in + d_out)
  FLOPs when only the upper triangle is formed. The Gram matrix of A serves every layer that reads the same input.

Both are exact. In a trajectory of several rows A and B hold the tokens of all rows, so that both forms are the norm of
the SUM of the rows' gradients, cross terms included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

# Rows of a Gram block: the symmetric half is skipped block-wise. On a CPU a block stays in the cache; a GPU would spend
# its time on launching many small products.
GRAM_BLOCK_CPU = 256
GRAM_BLOCK_GPU = 4096

# The Gram form sums terms that cancel. Below this share of the uncancelled sum its rounding error passes 1e-5 in
# float32, and the direct form, whose error grows only with the root of the cancellation, takes over.
CANCELLATION_LIMIT = 1e-2


def gram_is_cheaper(tokens: int, inputs: int, outputs: Sequence[int], block: int = GRAM_BLOCK_CPU) -> bool:
    """Whether the Gram form costs fewer FLOPs than the direct one for layers that share one input.

    Args:
        tokens: tokens of the trajectory.
        inputs: input width of the layers.
        outputs: output width of each of them.
        block: rows of a Gram block.
    """
    blocks = -(-tokens // block)
    triangle = (blocks + 1) / (2 * blocks)
    width = sum(outputs)
    return triangle * tokens * (inputs + width) < inputs * width


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Matrix product accumulated and returned in float32 or better: bfloat16 results would lose the norm."""
    if left.dtype in (torch.float32, torch.float64):
        return left @ right
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()


def frobenius(matrix: torch.Tensor) -> torch.Tensor:
    """Frobenius norm as a float64 scalar.

    Row norms first: the plain float32 reduction over a large matrix is off by up to 1e-3 on CPU, and the norm of a
    bfloat16 tensor is itself rounded to bfloat16.
    """
    if matrix.dtype not in (torch.float32, torch.float64):
        matrix = matrix.float()
    return torch.linalg.vector_norm(torch.linalg.vector_norm(matrix, dim=1), dtype=torch.float64)


def weight_gradient(inputs: torch.Tensor, output_gradients: torch.Tensor) -> torch.Tensor:
    """``B^T A`` (d_out x d_in) in float32 or better."""
    return product(output_gradients.t(), inputs)


def direct_norm(inputs: torch.Tensor, output_gradients: torch.Tensor) -> torch.Tensor:
    """Norm by forming the weight gradient once and dropping it."""
    return frobenius(weight_gradient(inputs, output_gradients))


def gram_blocks(rows: torch.Tensor) -> list[torch.Tensor]:
    """Upper block triangle of ``rows rows^T``: for each block of rows, its products with itself and all later rows."""
    return [product(rows[block], rows[block.start :].t()) for block in _blocks(rows)]


def gram_norm(input_blocks: Sequence[torch.Tensor], output_gradients: torch.Tensor) -> torch.Tensor | None:
    """Norm from the Gram blocks of the inputs; None where cancellation would spoil it.

    Args:
        input_blocks: `gram_blocks` of the inputs.
        output_gradients: B, tokens x d_out.
    """
    total = output_gradients.new_zeros((), dtype=torch.float64)
    uncancelled = torch.zeros_like(total)
    for input_block, block in zip(input_blocks, _blocks(output_gradients), strict=True):
        terms = product(output_gradients[block], output_gradients[block.start :].t()).mul_(input_block)
        size = len(terms)
        square, later = terms[:, :size], terms[:, size:]
        # an off-diagonal block stands for its mirror image too
        total += square.sum(dim=1).sum(dtype=torch.float64) + 2 * later.sum(dim=1).sum(dtype=torch.float64)
        uncancelled += square.diagonal().sum(dtype=torch.float64)
    if total.dtype != input_blocks[0].dtype and total < CANCELLATION_LIMIT * uncancelled:
        return None
    return total.clamp_min(0).sqrt()


def gram_block(rows: torch.Tensor) -> int:
    """Rows of a Gram block where these rows lie."""
    return GRAM_BLOCK_GPU if rows.is_cuda else GRAM_BLOCK_CPU


def _blocks(rows: torch.Tensor) -> Iterator[slice]:
    size = gram_block(rows)
    for start in range(0, len(rows), size):
        yield slice(start, min(start + size, len(rows)))
