"""Which generated data sets there are; a module of its own, since the rules ask it at start-up."""

# each with the file of the corpus that holds its texts
GENERATORS = {
    "problems": "test-problems",
    "topics": "topics",
    "questions": "test-questions",
    "arithmetic": "test-arithmetic",
}
