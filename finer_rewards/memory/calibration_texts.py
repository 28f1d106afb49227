"""Two lists of texts by which the similarities of a memory are calibrated.

`BACKGROUND` is reasoning about no query in particular, and stands for what all traces have in common: the mean of its
vectors is subtracted from every vector (unless `centre=False`). `UNRELATED` has texts about other things altogether:
the similarity that they get counts as 0.
"""

from __future__ import annotations

from typing import Final

BACKGROUND: Final = (
    "The question asks for some values of a table. I look at the schema, find the table, and return the column.",
    "First I need to understand what is asked. The relevant table is the one that stores these things. Then I "
    "select the columns and check that nothing else is needed.",
    "We have to filter the rows by a condition on one column, because only some of them are wanted.",
    "To answer this, count the rows that satisfy the condition and return the number.",
    "Two tables are involved, so they have to be joined on the key that they share.",
    "Let me think step by step. The names are in one table and the details in another; a join brings them together, "
    "and a filter keeps the rows of interest.",
    "The user wants the average of a column, so an aggregate function over the whole table is enough.",
    "For each category we need how many there are: group by the category and count.",
    "The result should be sorted from high to low, and only the first row is needed, so order by and limit.",
    "Groups with too few rows must go, which is a condition on the groups, so having.",
    "We need the rows that do not occur in the other table: not in with a subquery, or except.",
    "Different values only, therefore distinct. No aggregation is needed here.",
    "The maximum has to be found first and then the row it belongs to, with a subquery or by sorting.",
    "Both conditions must hold, for different rows, so take the intersection of two queries.",
    "Either condition is enough. The two are connected with or.",
    "The column holds text, and the value is only a part of it, so a pattern is compared with like.",
    "Okay, so what do we know? There is a column for the date and a column for the amount. The total is the sum of the "
    "amounts between two dates.",
    "I should double check the column names in the schema and use exactly those. The query is then simple.",
    "Hmm, it is not clear whether ties matter. I think the simplest reading of the question is right.",
    "The output must be one SQL statement that can be run, with the columns in the order of the question.",
    "Several tables form a chain, and each link of it is a join; at the end the rows are grouped and counted, sorted, "
    "and cut to the top few.",
    "The smallest value is asked for, together with its name. Sorting in ascending order and taking one row does it.",
    "Make sure that rows without a match are not lost if they are needed; here they are not.",
    "Finally, return the result. Nothing else has to be computed.",
)

UNRELATED: Final = (
    "Whisk the eggs with flour, milk and a pinch of salt, let the batter rest for twenty minutes, then fry thin "
    "pancakes on both sides and serve them warm with jam or lemon.",
    "Tomorrow will be mild and dry in the morning, with some rain from the west later. Take an umbrella if you go "
    "out after lunch.",
    "I am sorry, but I cannot help with that. Is there something else I could do for you today?",
    "The army crossed the river at dawn. In the evening the general wrote a long letter to his wife.",
    "yes yes yes yes yes yes yes yes yes yes",
    "To change a tyre, loosen the nuts, lift the car with the jack, take off the wheel and put on the spare one.",
    "def greet(person):\n    print('hello ' + person)\n\ngreet('world')",
    "The proof is by contradiction. Suppose that the root were rational; then both numerator and denominator would "
    "be even.",
    "She closed the book and looked out of the window, where the snow had begun to cover the garden.",
    "The patient should rest, drink plenty of water, and come back in a week if the fever has not gone.",
)
