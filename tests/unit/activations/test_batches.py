from hrsa.activations.batches import length_sorted_batches


def test_batches_hold_each_sample_once_within_the_budget_longest_first():
    lengths = [3, 50, 0, 7, 7, 120, 1, 30]
    batches = list(length_sorted_batches(lengths, 100))
    assert sorted(i for batch in batches for i in batch) == [0, 1, 3, 4, 5, 6, 7]
    assert batches[0] == [5]
    for batch in batches[1:]:
        assert len(batch) * max(lengths[i] for i in batch) <= 100
