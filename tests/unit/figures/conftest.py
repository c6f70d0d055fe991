import pandas as pd
import pytest
import synthetic_study


@pytest.fixture(scope="session")
def similarity() -> pd.DataFrame:
    return synthetic_study.similarity_table()
