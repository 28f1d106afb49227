"""The learner of the learning benchmark: a tiny Qwen2 over phrases, imitation, and GRPO in its plainest form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from benchmarks.learning_arms import Scale
from benchmarks.learning_task import Question

__all__ = ["Learner", "advantages"]

PAD, EOS = 0, 1
SHAPE = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2}


class Learner:
    """A model and its words.

    Args:
        vocabulary: the phrases it knows.
        longest: most phrases in a completion.
        seed: of its weights.
    """

    def __init__(self, vocabulary: Sequence[str], longest: int, seed: int) -> None:
        self.words = ["<pad>", "<eos>", *vocabulary]
        self.ids = {word: index for index, word in enumerate(self.words)}
        self.longest = longest
        torch.manual_seed(seed)
        tokens = {
            "vocab_size": len(self.words),
            "pad_token_id": PAD,
            "bos_token_id": None,
            "eos_token_id": EOS,
        }
        self.model: Any = Qwen2ForCausalLM(
            Qwen2Config(**SHAPE, **HEADS, **tokens, max_position_embeddings=128)
        )

    def imitate(self, examples: Sequence[Question], optimizer: Any) -> float:
        """Take one step towards the teacher's completions, and return the loss."""
        prompts = self._prompts(examples)
        answers = [[*(self.ids[word] for word in one.completion), EOS] for one in examples]
        tokens = torch.cat([prompts, _padded(answers, max(map(len, answers)))], 1)
        asked = prompts.shape[1]
        loss = self._surprise(tokens, asked).sum() / (tokens[:, asked:] != PAD).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def answer(self, asked: Sequence[Question], temperature: float) -> torch.Tensor:
        """Return the tokens of prompts and completions; greedy at temperature 0."""
        prompts = self._prompts(asked)
        rows, width = prompts.shape
        tokens = torch.cat([prompts, torch.full((rows, self.longest), PAD)], 1)
        decoder = _Decoder(self.model, rows, width + self.longest)
        logits, held, ended = decoder.read(prompts), torch.arange(rows), torch.zeros(rows, dtype=torch.bool)
        for place in range(width, width + self.longest):
            logits[:, PAD] = -torch.inf
            if temperature:
                chosen = torch.multinomial((logits / temperature).softmax(-1), 1)
            else:
                chosen = logits.argmax(-1, keepdim=True)
            chosen[ended] = PAD
            tokens[held, place] = chosen[:, 0]
            ended |= chosen[:, 0] == EOS
            if bool(ended.all()):
                return tokens[:, : place + 1]
            if 4 * int(ended.sum()) >= len(ended):
                decoder.keep(~ended)
                chosen, held, ended = chosen[~ended], held[~ended], ended[~ended]
            logits = decoder.read(chosen)
        return tokens

    def texts(self, tokens: torch.Tensor, asked: int) -> list[str]:
        """Return what was written after the first `asked` tokens."""
        rows = tokens[:, asked:].tolist()
        return [" ".join(self.words[token] for token in row if token not in (PAD, EOS)) for row in rows]

    def reinforce(self, tokens: torch.Tensor, asked: int, credit: torch.Tensor, optimizer: Any) -> None:
        """Take one step of policy gradient."""
        if self._push(tokens, asked, credit):
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    def direction(self, tokens: torch.Tensor, asked: int, credit: torch.Tensor) -> torch.Tensor:
        """Return where such a step would go, as one vector: minus the gradient."""
        weights = list(self.model.parameters())
        found = self._push(tokens, asked, credit)
        parts = [-one.grad.flatten() if found else torch.zeros(one.numel()) for one in weights]
        self.model.zero_grad()
        return torch.cat(parts)

    def _push(self, tokens: torch.Tensor, asked: int, credit: torch.Tensor) -> bool:
        """Compute the policy gradient, and return whether there is any; rows without credit cost nothing."""
        total = (tokens[:, asked:] != PAD).sum()
        moving = credit != 0
        if not bool(moving.any()):
            return False
        surprise = self._surprise(tokens[moving], asked)
        ((surprise.sum(1) * credit[moving]).sum() / total).backward()
        return True

    def asked_length(self, asked: Sequence[Question]) -> int:
        """Return how many tokens the prompts of a batch take."""
        return max(len(one.words) for one in asked)

    def _prompts(self, asked: Sequence[Question]) -> torch.Tensor:
        width = self.asked_length(asked)
        rows = [[self.ids[word] for word in one.words] for one in asked]
        return torch.tensor([[PAD] * (width - len(row)) + row for row in rows])

    def _surprise(self, tokens: torch.Tensor, asked: int) -> torch.Tensor:
        """Return minus the logarithm of the probability of each token written; 0 for padding."""
        # Padding in front of a prompt is masked; that behind a completion is never looked at.
        present = torch.ones_like(tokens, dtype=torch.bool)
        present[:, :asked] = tokens[:, :asked] != PAD
        positions = (present.cumsum(1) - 1).clamp(min=0)
        kept = tokens.shape[1] - asked + 1
        out = self.model(
            input_ids=tokens,
            attention_mask=present,
            position_ids=positions,
            logits_to_keep=kept,
            use_cache=False,
        )
        logits = out.logits[:, :-1]
        wanted = tokens[:, asked:]
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, logits.shape[-1]), wanted.reshape(-1), reduction="none"
        )
        return loss.view_as(wanted) * (wanted != PAD)


class _Decoder:
    """Reads tokens as the model does, keys and values kept: several times faster than its own `generate`.

    The arithmetic of Qwen2, without what serves other models; a test holds it to the model's own logits.
    """

    def __init__(self, model: Any, rows: int, width: int) -> None:
        self.layers, self.top = model.model.layers, model
        config = model.config
        self.heads, self.shared = config.num_attention_heads, config.num_key_value_heads
        self.size = config.hidden_size // self.heads
        shape = (len(self.layers), rows, self.shared, width, self.size)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)
        self.mask = torch.zeros(rows, 1, 1, width, dtype=torch.bool)
        self.place = torch.zeros(rows, dtype=torch.long)
        self.used = 0
        half = torch.arange(0, self.size, 2, dtype=torch.float32) / self.size
        base = config.rope_parameters["rope_theta"]
        angles = torch.arange(width, dtype=torch.float32)[:, None] * base**-half
        self.turn = torch.cat([angles, angles], 1)

    def keep(self, rows: torch.Tensor) -> None:
        """Forget all rows but these."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        self.mask, self.place = self.mask[rows], self.place[rows]

    def read(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after the last of these tokens; padding may only stand in front."""
        rows, new = tokens.shape
        # The prompt's padding is never looked at; what follows a completion's end is never used.
        present = tokens != PAD if not self.used else torch.ones_like(tokens, dtype=torch.bool)
        places = (self.place[:, None] + present.cumsum(1) - 1).clamp(min=0)
        self.place = places[:, -1] + 1
        end = self.used + new
        self.mask[:, 0, 0, self.used : end] = present
        causal = torch.ones(new, end, dtype=torch.bool).tril(self.used)
        seen = self.mask[..., :end] & causal
        # A row of padding sees itself, or its softmax would be over nothing.
        seen |= torch.eye(new, end, dtype=torch.bool) if not self.used else False
        each = self.heads // self.shared
        seen = seen.repeat(1, 1, each, 1)
        turn = self.turn[places][:, None]
        cosine, sine = turn.cos(), turn.sin()
        state = self.top.model.embed_tokens(tokens)
        for number, layer in enumerate(self.layers):
            attention, flow = layer.self_attn, layer.input_layernorm(state)
            query, key, value = (
                part(flow).view(rows, new, -1, self.size).transpose(1, 2)
                for part in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            query, key = (one * cosine + _turned(one) * sine for one in (query, key))
            self.keys[number, :, :, self.used : end] = key
            self.values[number, :, :, self.used : end] = value
            mixed = torch.nn.functional.scaled_dot_product_attention(
                # Heads that share keys stand one behind the other, as if they were further tokens.
                query.reshape(rows, self.shared, each * new, self.size),
                self.keys[number, :, :, :end],
                self.values[number, :, :, :end],
                attn_mask=seen,
            )
            mixed = mixed.reshape(rows, self.heads, new, self.size)
            state = state + attention.o_proj(mixed.transpose(1, 2).reshape(rows, new, -1))
            state = state + layer.mlp(layer.post_attention_layernorm(state))
        self.used = end
        logits: torch.Tensor = self.top.lm_head(self.top.model.norm(state[:, -1]))
        return logits


def _turned(vectors: torch.Tensor) -> torch.Tensor:
    left, right = vectors.chunk(2, -1)
    return torch.cat([-right, left], -1)


def advantages(
    values: Sequence[Sequence[float | None]], size: int, scale: Scale
) -> tuple[torch.Tensor, float]:
    """Return what each completion gains over its group, as TRL computes it, and the share of groups that say nothing.

    Args:
        values: for each term of the reward its values, group after group; `None` gains nothing and counts in no mean.
        size: completions of a group.
        scale: see `Arm`.
    """
    rewards = torch.tensor(
        [[math.nan if value is None else value for value in term] for term in values], dtype=torch.float64
    )
    grouped = rewards.view(len(values), -1, size)
    gained = grouped - grouped.nanmean(2, keepdim=True)
    spread = _spread(gained)
    gained = gained.where(spread > 1e-9, 0.0)
    silent = float((spread <= 1e-9).all(0).double().mean())
    if scale in ("group", "terms"):
        gained = gained / (spread + 1e-4)
    credit = gained.sum(0).flatten()
    if scale in ("batch", "terms"):
        of_batch = rewards.flatten() if scale == "batch" else credit
        credit = credit / (_spread(of_batch[None])[0] + 1e-4)
    return credit.nan_to_num().float(), silent


def _spread(values: torch.Tensor) -> torch.Tensor:
    """Return the standard deviation along the last dimension, of what is known there."""
    known = ~values.isnan()
    gained = (values - values.nanmean(-1, keepdim=True)).nan_to_num()
    freedom = (known.sum(-1, keepdim=True) - 1).clamp(min=1)
    return ((gained**2).sum(-1, keepdim=True) / freedom).sqrt()


def _padded(rows: Sequence[Sequence[int]], width: int) -> torch.Tensor:
    return torch.tensor([[*row, *[PAD] * (width - len(row))] for row in rows])
