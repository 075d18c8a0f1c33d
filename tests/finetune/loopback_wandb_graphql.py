"""Answers of the loopback Weights & Biases server: one function for each GraphQL operation that the client sends.

An answer holds every field that the operation may ask for; clients leave out what they did not ask.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopback_wandb import Server, StoredArtifact

Answer = dict[str, Any]
Variables = dict[str, Any]
NOBODY = {"edges": []}


def _viewer(server: Server, given: Variables) -> Answer:
    user = {"id": "user", "entity": "nell", "username": "nell", "name": "Nell", "email": "nell@example.org"}
    return {
        "viewer": {
            **user, "admin": False, "flags": "{}", "deletedAt": None, "apiKeys": NOBODY, "teams": NOBODY,
        }
    }  # fmt: skip


def _features(server: Server, given: Variables) -> Answer:
    return {"serverInfo": {"features": []}}


def _xxhash(server: Server, given: Variables) -> Answer:
    return {"entity": {"xxhashDigestsEnabled": False}}


def _resume_status(server: Server, given: Variables) -> Answer:
    run = server.runs.get(given["name"])
    if run is None:
        return {"model": None}
    bucket = {
        "id": run.name,
        "name": run.name,
        "displayName": run.name,
        "summaryMetrics": run.summary,
        "logLineCount": 0,
        "historyLineCount": len(run.history),
        "eventsLineCount": len(run.events),
        "historyTail": json.dumps(run.history[-1:]),
        "eventsTail": json.dumps(run.events[-1:]),
        "config": run.config,
        "tags": [],
        "notes": None,
        "wandbConfig": json.dumps({"t": 1}),
    }
    return {"model": {"id": "project", "name": run.project, "entity": _entity(run.entity), "bucket": bucket}}


def _upsert_run(server: Server, given: Variables) -> Answer:
    from loopback_wandb import ENTITY, Run

    name = given.get("name") or given["id"]
    entity, project = given.get("entity") or ENTITY, given.get("project") or "uncategorized"
    inserted = name not in server.runs
    run = server.runs.setdefault(name, Run(entity, project, name))
    run.config = given.get("config") or run.config
    project_of = {"id": "project", "name": run.project, "entity": _entity(run.entity)}
    bucket = {
        "id": name,
        "name": name,
        "displayName": given.get("displayName") or name,
        "description": None,
        "config": run.config,
        "sweepName": None,
        "project": project_of,
        "historyLineCount": len(run.history),
    }
    return {"upsertBucket": {"bucket": bucket, "inserted": inserted}}


def _run_files(server: Server, given: Variables) -> Answer:
    run, files = server.runs[given["run"]], []
    for name in given["files"]:
        run.files[name] = server.place("run", run.name, name)
        files.append({"name": name, "uploadUrl": server.address(run.files[name])})
    return {"createRunFiles": {"runID": run.name, "uploadHeaders": [], "files": files}}


def _files_uploaded(server: Server, given: Variables) -> Answer:
    return {"markRunFilesUploaded": {"success": True}}


def _artifact_type(server: Server, given: Variables) -> Answer:
    found = _by_name(server, given["name"])
    return {"project": {"artifact": found and {"artifactType": {"name": found.type}}}}


def _digest_algorithm(server: Server, given: Variables) -> Answer:
    return {"project": {"artifactType": {"artifactCollection": None}}}


def _create_artifact(server: Server, given: Variables) -> Answer:
    """One that has the same content already is given back, as the real server does."""
    from loopback_wandb import StoredArtifact

    asked = given["input"]
    line = [each for each in server.artifacts if each.collection == asked["artifactCollectionName"]]
    latest = next((each for each in reversed(line) if each.state == "COMMITTED"), None)
    aliases = [alias["alias"] for alias in asked.get("aliases") or []]
    artifact = next((each for each in line if each.digest == asked["digest"]), None)
    if artifact is None:
        raw = f"Artifact:{len(server.artifacts)}".encode()
        artifact = StoredArtifact(
            base64.b64encode(raw).decode(), asked["entityName"], asked["projectName"],
            asked["artifactTypeName"], asked["artifactCollectionName"], len(line), asked["digest"],
            [], asked.get("metadata"),
        )  # fmt: skip
        server.artifacts.append(artifact)
    for each in line:
        each.aliases = [alias for alias in each.aliases if alias not in aliases]
    artifact.aliases = sorted({*artifact.aliases, *aliases})
    run = server.runs.get(asked.get("runName") or "")
    if run is not None and artifact.id not in run.logged:
        run.logged.append(artifact.id)
    before = latest and {"id": latest.id}
    return {
        "createArtifact": {
            "artifact": {
                "id": artifact.id, "state": artifact.state, "artifactSequence": {"latestArtifact": before},
            }
        }
    }  # fmt: skip


def _create_manifest(server: Server, given: Variables) -> Answer:
    artifact = _by_id(server, given["artifactID"])
    artifact.manifest = server.place("manifest", artifact.id, given["name"])
    file = {"id": "file", "uploadUrl": server.address(artifact.manifest), "uploadHeaders": []}
    return {"createArtifactManifest": {"artifactManifest": {"id": artifact.id, "file": file}}}


def _create_artifact_files(server: Server, given: Variables) -> Answer:
    edges = []
    for asked in given["input"]["artifactFiles"]:
        artifact = _by_id(server, asked["artifactID"])
        key = artifact.files[asked["name"]] = server.place("artifact", artifact.id, asked["name"])
        node = {
            "storagePath": key, "uploadUrl": server.address(key), "uploadHeaders": [],
            "uploadMultipartUrls": None, "artifact": {"id": artifact.id},
        }  # fmt: skip
        edges.append({"node": node})
    return {"createArtifactFiles": {"files": {"edges": edges}}}


def _commit_artifact(server: Server, given: Variables) -> Answer:
    """Refused when a file of the manifest did not arrive as it says."""
    artifact = _by_id(server, given["artifactID"])
    for name, entry in json.loads(server.stored[artifact.manifest])["contents"].items():
        digest = hashlib.md5(server.stored[artifact.files[name]]).digest()
        assert base64.b64encode(digest).decode() == entry["digest"], name
    artifact.state = "COMMITTED"
    return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}


def _use_artifact(server: Server, given: Variables) -> Answer:
    asked = given["input"]
    used = server.runs[asked["runName"]].used
    if asked["artifactID"] not in used:
        used.append(asked["artifactID"])
    return {"useArtifact": {"artifact": {"id": asked["artifactID"]}}}


def _artifact(server: Server, given: Variables) -> Answer:
    return {"artifact": _described(_by_id(server, given["id"]))}


def _membership(server: Server, given: Variables) -> Answer:
    found = _by_name(server, given["name"])
    if found is None or (found.entity, found.project) != (given["entity"], given["project"]):
        return {"project": {"artifactCollectionMembership": None}}
    membership = {
        "__typename": "ArtifactCollectionMembership",
        "id": found.id,
        "versionIndex": found.version,
        "createdAt": "2026-01-01T00:00:00",
        "aliases": [_alias(alias) for alias in found.aliases],
        "artifactCollection": _collection(found),
        "artifact": _described(found),
    }
    return {"project": {"artifactCollectionMembership": membership}}


def _manifest(server: Server, given: Variables) -> Answer:
    address = server.address(_by_id(server, given["id"]).manifest)
    return {"artifact": {"currentManifest": {"file": {"directUrl": address}}}}


def _file_urls(server: Server, given: Variables) -> Answer:
    found = _by_name(server, f"{given['collection']}:{given['alias']}")
    assert found is not None
    edges = [
        {"node": {"__typename": "File", "name": name, "directUrl": server.address(key)}}
        for name, key in found.files.items()
    ]
    page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
    files = {"pageInfo": page, "edges": edges}
    collection = {"__typename": "ArtifactSequence", "artifactMembership": {"files": files}}
    return {"project": {"artifactCollection": collection}}


def _described(artifact: StoredArtifact) -> Answer:
    return {
        "__typename": "Artifact",
        "id": artifact.id,
        "artifactSequence": _collection(artifact),
        "versionIndex": artifact.version,
        "artifactType": {"name": artifact.type},
        "description": None,
        "metadata": artifact.metadata,
        "ttlDurationSeconds": -2,
        "ttlIsInherited": True,
        "tags": [],
        "historyStep": None,
        "state": artifact.state,
        "size": 1,
        "digest": artifact.digest,
        "digestAlgorithm": None,
        "commitHash": None,
        "fileCount": len(artifact.files),
        "createdAt": "2026-01-01T00:00:00",
        "updatedAt": None,
        "aliases": [
            {**_alias(alias), "artifactCollection": _collection(artifact)} for alias in artifact.aliases
        ],
    }


def _collection(artifact: StoredArtifact) -> Answer:
    project = {
        "id": "project", "internalId": "project", "name": artifact.project,
        "entity": _entity(artifact.entity),
    }  # fmt: skip
    return {"__typename": "ArtifactSequence", "name": artifact.collection, "project": project}


def _alias(alias: str) -> Answer:
    return {"__typename": "ArtifactAlias", "id": alias, "alias": alias}


def _entity(name: str) -> Answer:
    return {"id": name, "name": name}


def _by_id(server: Server, id: str) -> StoredArtifact:
    return next(artifact for artifact in server.artifacts if artifact.id == id)


def _by_name(server: Server, name: str) -> StoredArtifact | None:
    """`collection:version` or `collection:alias`."""
    collection, _, alias = name.partition(":")
    for artifact in reversed(server.artifacts):
        known = {f"v{artifact.version}", *artifact.aliases}
        if (
            artifact.collection == collection
            and artifact.state == "COMMITTED"
            and (alias or "latest") in known
        ):
            return artifact
    return None


OPERATIONS: dict[str, Callable[[Server, Variables], Answer]] = {
    "Viewer": _viewer,
    "GetViewer": _viewer,
    "GetDefaultEntity": _viewer,
    "ServerFeaturesQuery": _features,
    "XXHashDigestsEnabled": _xxhash,
    "RunResumeStatus": _resume_status,
    "UpsertBucket": _upsert_run,
    "CreateRunFiles": _run_files,
    "MarkRunFilesUploaded": _files_uploaded,
    "ArtifactType": _artifact_type,
    "FetchArtifactDigestAlgorithm": _digest_algorithm,
    "CreateArtifact": _create_artifact,
    "CreateArtifactManifest": _create_manifest,
    "CreateArtifactFiles": _create_artifact_files,
    "CommitArtifact": _commit_artifact,
    "UseArtifact": _use_artifact,
    "ArtifactByID": _artifact,
    "ArtifactMembershipByName": _membership,
    "FetchArtifactManifest": _manifest,
    "GetArtifactMembershipFileUrls": _file_urls,
}
