"""Asks a judge, such as a language model: all prompts of a batch at once, equal prompts only once.

Replies are kept for later batches. If the judge fails, that is the system's fault, so the samples have no value."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from finer_rewards._util.endpoint import Endpoint, EndpointError, EndpointGoneError
from finer_rewards._util.lru import LRU
from finer_rewards.errors import ConfigError
from finer_rewards.reward import Reward
from finer_rewards.rewards.judge import grade_in, judge_prompts
from finer_rewards.types import Evidence

__all__ = ["EndpointJudge"]

#: A judge is a function from prompts to a reply for each, in order; `None` if it could not answer. It may raise.
Judge = Callable[[Sequence[str]], Sequence["str | None"]]
_KEPT_BYTES: Final = 32 << 20


class Judges:
    """Adds the replies of a judge to evidence, for `Scorer.observe`.

    Args:
        reward: the reward, whose parts contain the prompts.
        judge: the judge.

    Raises:
        ConfigError: a part needs a judge and there is none, or the judge is not a function.
    """

    def __init__(self, reward: Reward, judge: Judge | None) -> None:
        if judge is not None and not callable(judge):
            raise ConfigError(
                f"`Scorer(judge=...)` should be a function from prompts to replies, but got {type(judge).__name__}. "
                "Pass EndpointJudge('http://localhost:8000/v1', 'MODEL'), or a function of your own."
            )
        if judge is None and "judge" in reward.needs:
            raise ConfigError(
                f"The reward {reward!r:.200} needs a judge, but this scorer has none. "
                "Pass judge=EndpointJudge('http://localhost:8000/v1', 'MODEL')."
            )
        self._reward = reward
        self._judge = judge if "judge" in reward.needs else None
        self._kept = LRU[str](_KEPT_BYTES)

    def observe(self, evidence: Sequence[Evidence]) -> list[Evidence]:
        """Return the evidence with the replies to the prompts that the reward has for it."""
        found = list(evidence)
        if self._judge is None:
            return found
        asked = {
            index: prompts
            for index, one in enumerate(found)
            if (prompts := judge_prompts(self._reward, one))
            and any(grade_in(one.judgements.get(prompt, "")) is None for prompt in prompts)
        }
        distinct = dict.fromkeys(prompt for prompts in asked.values() for prompt in prompts)
        replies = {prompt: kept for prompt in distinct if (kept := self._kept.get(prompt)) is not None}
        error = self._ask([prompt for prompt in distinct if prompt not in replies], replies)
        for index, prompts in asked.items():
            known = {prompt: replies[prompt] for prompt in prompts if prompt in replies}
            missing = error if len(known) < len(prompts) else ""
            found[index] = replace(found[index], judgements=known, judge_error=missing)
            found[index].learn(evidence[index].known)
        return found

    def _ask(self, prompts: list[str], replies: dict[str, str]) -> str:
        """Put the replies that the judge gives into `replies`, and return why others are missing."""
        if not prompts:
            return ""
        assert self._judge is not None
        try:
            came = list(self._judge(prompts))
        except EndpointError as error:
            return str(error)
        except (AttributeError, KeyError, NameError, TypeError):
            # A mistake in the judge's code: if it were taken for a failure, a whole run would have no values.
            raise
        except Exception as error:  # noqa: BLE001 - a client's own errors are the system's fault: there is no value
            # The text of the error may hold a key, so only its type is reported.
            return f"the judge raised {type(error).__name__}"
        if len(came) != len(prompts):
            return f"the judge gave {len(came)} replies to {len(prompts)} prompts"
        for prompt, reply in zip(prompts, came, strict=True):
            if isinstance(reply, str):
                replies[prompt] = reply
                # A reply without a score is not kept, so that the judge is asked again the next time.
                if grade_in(reply) is not None:
                    self._kept.put(prompt, reply, 2 * (len(prompt) + len(reply)))
        return "the judge gave no reply"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class EndpointJudge(Endpoint):
    """Asks `POST URL/chat/completions`, with a request for each prompt, several at a time; needs no further package.

    The key and the prompts go only to that address: a redirect is an error. A request that is refused because of load
    (429) or by a server error (5xx), or whose connection is lost, is repeated, after a wait that doubles each time. A
    prompt that still fails has no reply; if all fail, it raises.

    Args:
        url: base URL, e.g. `"http://localhost:8000/v1"`.
        model: the model's name on the server.
        temperature: 0 for the most likely reply.
        max_tokens: the longest reply.
        concurrency: the number of requests at a time.
        timeout: the seconds that a request may take.
        retries: further attempts after the first.
        key_variable: environment variable that holds the API key, if there is one. The key itself is kept nowhere.

    Raises:
        ConfigError: the URL is not http or https, or holds a password.

    Example:
        >>> EndpointJudge("http://localhost:8000/v1", "my-model")
        EndpointJudge('http://localhost:8000/v1', 'my-model')
    """

    temperature: float = 0.0
    max_tokens: int = 512
    concurrency: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.concurrency < 1:
            raise ConfigError(
                f"`EndpointJudge(concurrency=...)` should be 1 or more, but got {self.concurrency!r}."
            )

    def __call__(self, prompts: Sequence[str]) -> list[str | None]:
        """Return a reply to each prompt.

        Raises:
            EndpointError: no prompt was answered.
        """
        errors: list[EndpointError] = []
        gone = threading.Event()

        def ask(prompt: str) -> str | None:
            # Once the server cannot be reached, the other prompts are tried only once, without the waits.
            try:
                return self._ask(prompt, once=gone.is_set())
            except EndpointError as error:
                if isinstance(error, EndpointGoneError):
                    gone.set()
                errors.append(error)
                return None

        with ThreadPoolExecutor(min(self.concurrency, max(1, len(prompts)))) as pool:
            replies = list(pool.map(ask, prompts))
        if errors and not any(reply is not None for reply in replies):
            raise errors[0]
        return replies

    def describe(self) -> Mapping[str, object]:
        """Return what decides its replies. The URL does not: the same model may move to another server."""
        return {"model": self.model, "temperature": self.temperature, "max_tokens": self.max_tokens}

    def _ask(self, prompt: str, once: bool) -> str:
        body = {
            "messages": [{"role": "user", "content": prompt}],
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        answer = self.ask("chat/completions", body, once=once)
        try:
            text = answer["choices"][0]["message"]["content"]
        except (KeyError, TypeError, IndexError) as error:
            raise EndpointError(
                f"{self.url} did not answer in the OpenAI form: {type(error).__name__}"
            ) from None
        if not isinstance(text, str):
            raise EndpointError(f"{self.url} gave a reply without text")
        return text
