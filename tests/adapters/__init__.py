"""Tests of the adapters.  Those that come from a contract are to explain their failures like any other."""

import pytest

pytest.register_assert_rewrite("tests.adapters.contract", "tests.adapters.ownership", "tests.adapters.embedded")
