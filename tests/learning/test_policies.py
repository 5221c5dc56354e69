"""What the training of policies reads."""

from jaxseg.evaluation import tables
from jaxseg.learning import policies


def test_a_run_knows_its_precision(monkeypatch):
    """Resolved, as "auto" is another one on another machine."""
    monkeypatch.setattr(tables, "data_digest", lambda prepared: f"of {prepared}")
    monkeypatch.setattr(tables, "digest", lambda model, data: f"{model} {data}")

    def inputs(precision):
        config = {"data": {"prepared": "x"}, "runtime": {"precision": precision}}
        return policies.inputs(config, "networks")

    expected = {"networks": "networks of x", "precision": "float32"}
    assert inputs("auto") == inputs("float32") == expected
    assert inputs("bfloat16") == expected | {"precision": "bfloat16"}
