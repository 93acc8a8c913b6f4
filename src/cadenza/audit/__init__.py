"""The independent auditor: were the promises to people kept, judging by the log and by what was sent alone?

It re-derives who each person is, what they said and what they were sent, and asks every message the rules once more. It
shares nothing with what decided (``stages/``, ``sql/``) nor with the reference model (``simulate/``) but the definitions,
ids and clock, so that a mistake has to be made twice, in different words, to stay hidden. A rule is one small function
(``rules.py``); what the log does not say, such as where a passage stands, is counted as not derivable and never guessed.
"""
