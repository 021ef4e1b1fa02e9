"""MLflow without a server, read back by its own client."""

import pytest
import tracked_run
from tracked_run import MEANS, SEEDS

from dgm_jax.trackers.mlflow import Mlflow, metric_name

mlflow = pytest.importorskip("mlflow", reason="needs extra mlflow", exc_type=ImportError)


def test_two_parts_of_a_run_are_one(tmp_path, monkeypatch):
    """Under one id, which the tag finds again; in a data base of SQLite."""
    pytest.importorskip("sqlalchemy", reason="MLflow's data bases need it")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    have, notices = tracked_run.track(Mlflow, tmp_path)
    assert have == [-1, 10] and not notices
    client = mlflow.MlflowClient()
    place = client.get_experiment_by_name("tiny").experiment_id
    (run,) = client.search_runs([place])
    assert run.info.status == "FINISHED" and run.info.run_name == "a"
    assert run.data.params == {"rate": "0.1", "kind": "['plain']", "note": "None"}
    assert run.data.metrics["total_step"] == 20
    for name, values in (MEANS | SEEDS).items():
        events = client.get_metric_history(run.info.run_id, f"plain  rate:0.1/{name}")
        assert sorted((event.step, event.value) for event in events) == list(
            zip([10, 20], values, strict=True)
        )
    assert "plain  rate:0.1/error/seed_1" not in run.data.metrics
    artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert artifacts == {"figures", "settings.json", "summary.json"}
    figures = {file.path for file in client.list_artifacts(run.info.run_id, "figures")}
    assert figures == {"figures/red_10.png", "figures/red_20.png"}


def test_names_are_those_that_it_takes():
    assert metric_name("Fréchet (a+b), rate=1e-3/mean") == "Fr_chet _a_b_  rate:1e-3/mean"
