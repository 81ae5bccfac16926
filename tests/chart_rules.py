"""The rules for each value of the chart, as JSON schema; values.schema.json is generated from them."""

from typing import Any

TEXT = {"type": "string"}
_NAME = {"type": "string", "maxLength": 253, "pattern": "^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$"}
_KEY = {"type": "string", "pattern": "^[-._a-zA-Z0-9]*$"}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_SECONDS = {"type": "integer", "minimum": 0, "maximum": 3600}
_DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
_BROKER = r"[^\s,]+:[0-9]{1,5}"
LIST_OR_TEXT = {"type": ["string", "array"], "items": {"type": "string", "pattern": "^[^\\s,]+$"}}
_PEERS = {"type": "array", "items": {"$ref": "#/definitions/peer"}}
_NAMED = {"type": "array", "items": {"$ref": "#/definitions/named"}}
_WORDS = {"type": "object", "additionalProperties": {"type": ["string", "null"]}}
_USER_OR_CLUSTER = {"type": ["integer", "string"], "minimum": 1, "maxLength": 0}
_QUANTITIES = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_HOST_NAME = {"type": "string", "pattern": "^([*][.])?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}
_HOST_NAMES = {"type": "array", "items": _HOST_NAME}


def closed(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """An object with these properties only."""
    described: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    return described | ({"required": list(required)} if required else {})


def _choice(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


def _at_least(least: int, most: int | None = None) -> dict[str, Any]:
    return {"type": "integer", "minimum": least} | ({"maximum": most} if most is not None else {})


_REFERENCE = closed(("name", "key"), name=TEXT, key=TEXT, optional={"type": "boolean"})
DEFINITIONS: dict[str, Any] = {
    "selector": closed(
        matchLabels=_WORDS,
        matchExpressions={
            "type": "array",
            "items": closed(
                ("key", "operator"),
                key=TEXT,
                operator=_choice("In", "NotIn", "Exists", "DoesNotExist"),
                values={"type": "array", "items": TEXT},
            ),
        },
    ),
    "peer": closed(
        podSelector={"$ref": "#/definitions/selector"},
        namespaceSelector={"$ref": "#/definitions/selector"},
        ipBlock=closed(("cidr",), cidr=TEXT, **{"except": {"type": "array", "items": TEXT}}),
    ),
    "toleration": closed(
        key=TEXT,
        operator=_choice("Exists", "Equal", "Lt", "Gt"),
        value=TEXT,
        effect=_choice("NoSchedule", "PreferNoSchedule", "NoExecute"),
        tolerationSeconds={"type": "integer"},
    ),
    "variable": closed(
        ("name",),
        name={"type": "string", "pattern": "^[-._a-zA-Z][-._a-zA-Z0-9]*$"},
        value=TEXT,
        valueFrom=closed(
            secretKeyRef=_REFERENCE,
            configMapKeyRef=_REFERENCE,
            fieldRef=closed(("fieldPath",), fieldPath=TEXT, apiVersion=TEXT),
            resourceFieldRef=closed(
                ("resource",), resource=TEXT, containerName=TEXT, divisor={"type": ["string", "number"]}
            ),
        ),
    ),
    # Volumes and containers: the API server checks their contents.
    "named": {"type": "object", "required": ["name"], "properties": {"name": TEXT | {"minLength": 1}}},
    "mount": closed(
        ("name", "mountPath"),
        name=TEXT,
        mountPath=TEXT,
        subPath=TEXT,
        subPathExpr=TEXT,
        readOnly={"type": "boolean"},
        recursiveReadOnly=TEXT,
        mountPropagation=TEXT,
    ),
    "alias": closed(("ip",), ip=TEXT | {"minLength": 1}, hostnames={"type": "array", "items": TEXT}),
    "parent": closed(
        ("name",), group=TEXT, kind=TEXT, namespace=_NAME, name=_NAME | {"minLength": 1}, sectionName=TEXT, port=_PORT
    ),
    "relabeling": closed(
        sourceLabels={"type": "array", "items": TEXT},
        separator=TEXT,
        targetLabel=TEXT,
        regex=TEXT,
        modulus={"type": "integer"},
        replacement=TEXT,
        action=TEXT,
    ),
}

# Rules by the last word of a path, or by the whole path (which takes precedence).
RULES: dict[str, dict[str, Any]] = {
    "resources": closed(
        requests=_QUANTITIES,
        limits=_QUANTITIES,
        claims={"type": "array", "items": closed(("name",), name=TEXT, request=TEXT)},
    ),
    **dict.fromkeys(("podAnnotations", "podLabels", "nodeSelector", "annotations", "labels", "commonLabels"), _WORDS),
    "tolerations": {"type": "array", "items": {"$ref": "#/definitions/toleration"}},
    # The API server checks their contents.
    "affinity": closed(
        nodeAffinity={"type": "object"}, podAffinity={"type": "object"}, podAntiAffinity={"type": "object"}
    ),
    "extraEnv": {"type": "array", "items": {"$ref": "#/definitions/variable"}},
    "extraVolumes": _NAMED,
    "initContainers": _NAMED,
    "extraContainers": _NAMED,
    "extraVolumeMounts": {"type": "array", "items": {"$ref": "#/definitions/mount"}},
    "hostAliases": {"type": "array", "items": {"$ref": "#/definitions/alias"}},
    "services.ipFamilyPolicy": _choice("", "SingleStack", "PreferDualStack", "RequireDualStack"),
    "services.ipFamilies": {"type": "array", "maxItems": 2, "uniqueItems": True, "items": _choice("IPv4", "IPv6")},
    "existingSecret": _NAME,
    "namespace": _NAME,
    "priorityClassName": _NAME,
    "shards": _at_least(1, 64),
    "replicasPerShard": _at_least(1, 4),
    "replicas": _at_least(1, 64),
    "minReplicas": _at_least(1, 64),
    "maxReplicas": _at_least(1, 64),
    "handoverSeconds": _SECONDS,
    "stopSeconds": _at_least(1, 3600),
    "streams": LIST_OR_TEXT,
    "symbols": LIST_OR_TEXT | {"minLength": 1, "minItems": 1},
    "secretKey": _KEY | {"minLength": 1},
    "to": _PEERS,
    "metricsFrom": _PEERS,
    "gatewayFrom": _PEERS,
    "ports": {"type": "array", "items": _PORT},
    "interval": _DURATION,
    "scrapeTimeout": _DURATION,
    **{
        f"kafka.secretKeys.{name}": _KEY
        for name in ("username", "password", "oauthToken", "ca", "cert", "key", "keyPassword")
    },
    **{
        f"schemaRegistry.secretKeys.{name}": _KEY
        for name in ("username", "password", "ca", "cert", "key", "keyPassword")
    },
    "nameOverride": {"type": "string", "pattern": "^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$", "maxLength": 63},
    "fullnameOverride": {"type": "string", "pattern": "^([a-z]([a-z0-9-]*[a-z0-9])?)?$"},
    "image.repository": {"type": "string", "minLength": 1, "pattern": "^[^\\s@]+$"},
    "image.tag": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{0,128}$"},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "sandbox.image.repository": {"type": "string", "pattern": "^[^\\s@]*$"},
    "sandbox.image.tag": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{0,128}$"},
    "sandbox.image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": _choice("Always", "IfNotPresent", "Never"),
    "imagePullSecrets": {"type": "array", "items": closed(("name",), name=_NAME)},
    "kafka.bootstrapServers": {
        "type": ["string", "array"],
        "pattern": f"^({_BROKER}(, *{_BROKER})*)?$",
        "items": {"type": "string", "pattern": f"^{_BROKER}$"},
    },
    "kafka.securityProtocol": _choice("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "kafka.saslMechanism": _choice("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
    "kafka.caSecret.name": _NAME,
    "kafka.caSecret.key": _KEY | {"minLength": 1},
    "schemaRegistry.url": {"type": "string", "pattern": "^(https?://[^\\s@]+)?$"},
    "exchange.wsUrl": {"type": "string", "pattern": "^(wss?://[^\\s]+)?$"},
    "exchange.restUrl": {"type": "string", "pattern": "^(https?://[^\\s]+)?$"},
    "accountProducer.symbols": LIST_OR_TEXT,
    "topicPrefix": {"type": "string", "pattern": "^[A-Za-z0-9._-]{0,128}$"},
    "logLevel": _choice("debug", "info", "warning", "error"),
    "logFormat": _choice("json", "text"),
    "topics.mode": _choice("job", "strimzi", "none"),
    "topics.strimzi.cluster": _NAME,
    "topics.strimzi.replicas": _at_least(0, 32767),
    "topics.strimzi.apiVersion": _choice("", "kafka.strimzi.io/v1", "kafka.strimzi.io/v1beta2"),
    "hookJob.activeDeadlineSeconds": _at_least(1),
    "hookJob.serviceAccountName": _NAME,
    "hookJob.backoffLimit": _at_least(0, 100),
    "hookJob.ttlSecondsAfterFinished": _at_least(0),
    "targetCPUUtilizationPercentage": _at_least(1, 1000),
    "bookBuilder.keda.lagThreshold": _at_least(1),
    "bookBuilder.keda.pollingInterval": _at_least(1, 3600),
    "bookBuilder.keda.stabilizationSeconds": _SECONDS,
    "gateway.service.type": _choice("ClusterIP", "NodePort", "LoadBalancer"),
    "gateway.service.port": _PORT,
    "gateway.ingress.className": _NAME,
    "gateway.ingress.hosts": _HOST_NAMES,
    "gateway.ingress.tls": {"type": "array", "items": closed(hosts=_HOST_NAMES, secretName=_NAME)},
    "gateway.httpRoute.hostnames": _HOST_NAMES,
    "gateway.httpRoute.parentRefs": {"type": "array", "items": {"$ref": "#/definitions/parent"}},
    "serviceAccount.name": _NAME,
    "podSecurity.runAsUser": _USER_OR_CLUSTER,
    "podSecurity.runAsGroup": _USER_OR_CLUSTER,
    "podSecurity.fsGroup": _USER_OR_CLUSTER,
    "topologySpread.topologyKeys": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
    "topologySpread.whenUnsatisfiable": _choice("ScheduleAnyway", "DoNotSchedule"),
    "podDisruptionBudget.maxUnavailable": {
        "type": ["integer", "string"],
        "minimum": 1,
        "maximum": 64,
        "pattern": "^([1-9][0-9]?|100)%$",
    },
    "serviceMonitor.metricRelabelings": {"type": "array", "items": {"$ref": "#/definitions/relabeling"}},
    "prometheusRule.runbookBaseUrl": {"type": "string", "pattern": "^(https?://[^\\s]+)?$"},
    "prometheusRule.disabledAlerts": {"type": "array", "items": {"type": "string", "pattern": "^[A-Za-z0-9_]+$"}},
}
