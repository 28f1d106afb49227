"""Forms in which models write an answer, and texts that are none: what `auto` has to read, and what it has to refuse.

The first seven are those that were found to be refused by the form of the paper; the others are as chat models,
reasoning models and trainers' templates give them.
"""

from __future__ import annotations

import json

SHORT = "The singers are in one table, so I count its rows."
LONG = (
    "The question asks for the singers over forty. The table singer has the column age, so the rows are filtered by it "
    "and only the name is returned; nothing has to be joined or grouped."
)

#: Thoughts of nothing that can be read.
FILLER = {
    "invisible thought": "\u200b\u2060\u200d\ufe0f" * 60,
    "thought in tag characters": "".join(chr(0xE0061 + at % 26) for at in range(150)),
    "thought in Braille": "".join(chr(0x2801 + at) for at in range(200)),
    "thought in emoji": "".join(chr(0x1F600 + at % 60) for at in range(150)),
    "counting": " ".join(map(str, range(1, 80))),
    "counting steps": " ".join(f"Step {at}." for at in range(1, 40)),
    "pairs of letters": " ".join(a + b for a in "abcde" for b in "fghijklmnop"),
    "random characters": "kq3 zv8 mw1 xr5 tp9 hj2 dn7 bf4 gs6 lc0 ye3 ua8 oi1 wk5 qz9 vm2 rx7 pt4 jh6 nd0 fb3 sg8",
    "one letter": "a" * 300,
    "the same words": "think step by step. " * 20,
    "white space": "\n" * 300,
}


def good(sql: str) -> dict[str, str]:
    """Return completions that answer with this statement, by what is special about them."""
    fence = f"```sql\n{sql}\n```"
    final = "<|end|><|start|>assistant<|channel|>final<|message|>"
    return {
        "opening tag in the prompt": f"{LONG}\n</think>\n\n{sql}",
        "fence alone": fence,
        "chatty fence": f"Sure! Here is the query you asked for:\n\n{fence}\n\nIt returns what you want.",
        "answer tag": f"<think>{LONG}</think>\n<answer>{sql}</answer>",
        "fence in an answer tag": f"<think>{LONG}</think>\n<answer>\n{fence}\n</answer>",
        "sentence after the thought": f"<think>{LONG}</think>\nThe query is:\n{sql}",
        "short thought": f"<think>{SHORT}</think>\n{sql}",
        "the paper's": f"<think>{LONG}</think>{sql}",
        "SQL alone": sql,
        "SQL and its semicolon": f"{sql};\n",
        "an empty thought": f"<think>\n\n</think>\n\n{sql}",
        "a sentence before": f"The query is: {sql}",
        "a paragraph before": f"{SHORT}\n\n{sql};",
        "an explanation after": f"{sql};\n\nThis query reads the table and returns the rows that were asked for.",
        "an explanation after a blank line": f"{sql}\n\nExplanation: the rows come from one table; nothing is joined.",
        "a heading": f"### SQL Query\n\n{sql}",
        "a bold label": f"**SQL:** {sql}",
        "single backticks": f"The answer is: `{sql}`",
        "four backticks": f"<think>{LONG}</think>\n````sql\n{sql}\n````",
        "tildes": f"Here it is:\n~~~sql\n{sql}\n~~~\n",
        "label of the engine": f"```sqlite\n{sql};\n```",
        "no label": f"{SHORT}\n```\n{sql}\n```",
        "fence opened in the prompt": f"{sql}\n```",
        "fence never closed": f"<think>{LONG}</think>\n```sql\n{sql}",
        "drafts, then the query": f"First I try\n```sql\nSELECT 1\n```\nThen the final query:\n{fence}",
        "draft in the thought": f"<think>Perhaps SELECT 1? No.\n```sql\nSELECT 1\n```\n{LONG}</think>\n{fence}",
        "reasoning tag": f"<reasoning>\n{LONG}\n</reasoning>\n<answer>\n{sql}\n</answer>",
        "sql tag": f"<think>{LONG}</think>\n<sql>{sql}</sql>",
        "solution tag": f"<think>{LONG}</think>\n<solution>{sql}</solution>",
        "box of LaTeX": f"<think>{LONG}</think>\nThe answer is $\\boxed{{{sql}}}$.",
        "box of LaTeX with text": f"{LONG}</think>\n\\boxed{{\\text{{{sql}}}}}",
        "box of GLM": f"<think>{LONG}</think><|begin_of_box|>{sql}<|end_of_box|>",
        "box of LaTeX with code": f"<think>{LONG}</think>\n\\[ \\boxed{{\\texttt{{{sql}}}}} \\]",
        "fence with a space before its label": f"<think>{LONG}</think>\n``` sql\n{sql}\n```",
        "fence of tildes after the thought": f"<think>{LONG}</think>~~~sql\n{sql}\n~~~",
        "Magistral": f"[THINK]{LONG}[/THINK]{fence}</s>",
        "Kimi": f"◁think▷{LONG}◁/think▷{fence}<|im_end|>",
        "gpt-oss": f"<|channel|>analysis<|message|>{LONG}{final}{sql}<|return|>",
        "Command A": f"<|START_THINKING|>{LONG}<|END_THINKING|><|START_RESPONSE|>{fence}<|END_RESPONSE|>",
        "DeepSeek": f"<think>\n{LONG}\n</think>\n\n{fence}<｜end▁of▁sentence｜>",
        "Llama": f"Here is the query:\n{fence}<|eot_id|>",
        "windows line ends": f"<think>{LONG}</think>\r\n\r\n{sql}\r\n",
        "a comment first": f"<think>{SHORT}</think>\n-- the names; all of them\n{sql}",
        "query said twice": f"<think>{SHORT}</think>\n{fence}\nAgain, on its own:\n{fence}",
        "explained clause by clause": f"{fence}\n\n1. `SELECT name`: the column.\n2. `FROM singer`: the table.",
        "JSON": json.dumps({"reasoning": SHORT, "sql": sql}),
        "JSON in a fence": f"<think>{LONG}</think>\n```json\n{json.dumps({'sql': sql}, indent=2)}\n```",
        "a call of a tool": f"<tool_call>{json.dumps({'name': 'run', 'arguments': {'query': sql}})}</tool_call>",
        "a tag of another name": f"<analysis>{SHORT}</analysis>\n<final_sql>\n{fence}\n</final_sql>",
        "a tag in capitals": f"<think>{LONG}</think>\n<SQL>{sql}</SQL>",
        "a tag in brackets": f"[SQL]\n{sql}\n[/SQL]",
        "code in a sentence": f"The answer is `{sql}`, which reads one table.",
        "another language beside": f"<think>{LONG}</think>\n{fence}\n```python\nprint(1)\n```",
    }  # fmt: skip


def bad(sql: str) -> dict[str, str]:
    """Return completions that answer nothing, or nothing certain, although the statement stands in them."""
    other = "SELECT country FROM singer"
    fence, second = f"```sql\n{sql}\n```", f"```sql\n{other}\n```"
    return {
        "nothing": "",
        "white space alone": " \n\t ",
        "an end token": "<|im_end|>",
        "a refusal": "I am sorry, but the schema does not say who the singers are.",
        "a thought alone": f"<think>{LONG}</think>",
        "a thought that never ends": f"<think>{LONG}\n{sql}",
        "a thought that never ends, fenced": f"<think>{LONG}\n{fence}",
        "a comment alone": f"<think>{LONG}</think>\n-- {sql}",
        "no query": f"<think>{LONG}</think>\nDROP TABLE singer",
        "two fences": f"<think>{LONG}</think>\n{fence}\n{second}",
        "two fences without a thought": f"{second}\n{fence}",
        "two fences to choose from": f"Option 1:\n{second}\nOr, if names are meant:\n{fence}",
        "two answer tags": f"<think>{LONG}</think><answer>{other}</answer><answer>{sql}</answer>",
        "two statements": f"<think>{LONG}</think>\n{other};\n{sql};",
        "two statements in a fence": f"<think>{LONG}</think>\n```sql\n{other};\n{sql};\n```",
        "a second query in prose": f"<think>{LONG}</think>\n{fence}\nOr, if countries are meant: {other}",
        "two sentences with queries": f"The query is: {other}\n\nIf names are meant: {sql}",
        "two queries in JSON": json.dumps({"sql": sql, "alternative": other}),
        "two tags of other names": f"<first>{other}</first>\n<second>{sql}</second>",
        "two pieces of code": f"The answer is `{other}` or `{sql}`.",
        "an answer between two thoughts": f"<think>{LONG}</think> {other}\n<think>again</think> {sql}",
        **{name: f"<think>{thought}</think>\n{sql}" for name, thought in FILLER.items()},
        "full-width tags": f"＜think＞{LONG}＜/think＞\n{sql}",
        "closing tag in capitals": f"<think>{LONG}</THINK>\n{sql}",
    }  # fmt: skip
