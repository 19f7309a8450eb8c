"""The names of Ray's own binding that programs use: the classes of refs, generators and ids."""

from __future__ import annotations

from enum import Enum

from skate._generator import DynamicObjectRefGenerator, ObjectRefGenerator
from skate._ids import (
    ActorClassID,
    ActorID,
    BaseID,
    ClusterID,
    FunctionID,
    JobID,
    NodeID,
    PlacementGroupID,
    TaskID,
    UniqueID,
    WorkerID,
)
from skate._native import ObjectRef

StreamingObjectRefGenerator = ObjectRefGenerator
ObjectID = ObjectRef


class Language(Enum):
    """Ray's numbers for languages of workers. Those of skate speak Python."""

    PYTHON = 0
    JAVA = 1
    CPP = 2

    def __str__(self) -> str:
        return self.name


__all__ = [
    "ActorClassID",
    "ActorID",
    "BaseID",
    "ClusterID",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "JobID",
    "Language",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroupID",
    "StreamingObjectRefGenerator",
    "TaskID",
    "UniqueID",
    "WorkerID",
]
