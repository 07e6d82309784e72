"""The page on which MLflow shows the runs of an experiment: a shared view, which is a tag of the experiment.

MLflow does not document the tag. Its page reads ``mlflow.sharedViewState.KEY`` when its address has
``viewStateShareKey=KEY``, and takes the state of the page from it as JSON.
"""

from __future__ import annotations

import json
from typing import Any

RETENTION, SIZE_MB = "compressed/retention_percent", "compressed/size_mb"
"""The names of the two figures that runs are compared by, in the section of the compressed model's figures."""
_KEY = "stc"
_COLUMNS = {  # column of MLflow's table → its width in pixels
    "1": 73,  # the check box
    "attributes.`Run Name`": 190,
    "params.`lang`": 55,
    "params.`prune.ratio`": 95,
    "params.`prune.method`": 120,
    "params.`quant`": 65,
    f"metrics.`{RETENTION}`": 215,
    f"metrics.`{SIZE_MB}`": 160,
    f"metrics.`{RETENTION}_low`": 245,
    f"metrics.`{RETENTION}_high`": 250,
    "metrics.`compressed/size_parameters_million`": 280,
    "metrics.`compressed/speed_real_time_factor`": 280,
    "runDateAndNestInfo": 150,
    "duration": 80,
}


def experiment_tags() -> dict[str, str]:
    """Return the tags by which MLflow shows an experiment as model training, with the view of its runs."""
    return {
        "mlflow.experimentKind": "custom_model_development",  # else MLflow's UI expects language agents
        "mlflow.experiment.primaryMetric.name": RETENTION,
        "mlflow.experiment.primaryMetric.greaterIsBetter": "true",
        f"mlflow.sharedViewState.{_KEY}": json.dumps(_state()),
    }


def view_path(experiment: str, *, charts: bool = False) -> str:
    """Return the address of the view below that of the server: of the table, or of its charts."""
    mode = "&compareRunsMode=CHART" if charts else ""
    return f"#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={_KEY}{mode}"


def _state() -> dict[str, Any]:
    section = RETENTION.partition("/")[0]
    scatter = {
        "type": "SCATTER",
        "uuid": "retention-size",
        "metricSectionId": section,
        "displayName": "retention against size",
        "xaxis": {"key": SIZE_MB, "type": "METRIC"},
        "yaxis": {"key": RETENTION, "type": "METRIC"},
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
    }
    return {
        "orderByKey": f"metrics.`{RETENTION}`",
        "orderByAsc": False,
        "selectedColumns": [name for name in _COLUMNS if name.startswith(("params.", "metrics."))],
        "columnOrder": list(_COLUMNS),
        "columnWidths": _COLUMNS,
        "compareRunCharts": [scatter],
        "compareRunSections": [
            {
                "uuid": section,
                "name": section,
                "display": True,
                "isReordered": True,
                "deleted": False,
                "isGenerated": True,
                "columns": 1,  # a chart has all the width: in three columns its axes overlap
                "cardHeight": 420,
            }
        ],
        "runsHiddenMode": "FIRST_20_RUNS",
    }
