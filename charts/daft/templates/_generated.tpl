{{/* Written by scripts/chart.py. */}}

{{/* The value under `workers`, and its environment variable. */}}
{{- define "daft.workerVariables" -}}
preset: DAFT_K8S_PRESET
allocationMode: DAFT_K8S_ALLOCATION
count: DAFT_K8S_NUM_WORKERS
minCount: DAFT_K8S_MIN_WORKERS
maxCount: DAFT_K8S_MAX_WORKERS
cpu: DAFT_K8S_WORKER_CPU
memory: DAFT_K8S_WORKER_MEMORY
gpu: DAFT_K8S_WORKER_GPU
gpuResourceName: DAFT_K8S_GPU_RESOURCE_NAME
startTimeoutSeconds: DAFT_K8S_START_TIMEOUT_SECONDS
orphanTimeoutSeconds: DAFT_K8S_ORPHAN_TIMEOUT_SECONDS
unreachableTimeoutSeconds: DAFT_K8S_UNREACHABLE_TIMEOUT_SECONDS
drainTimeoutSeconds: DAFT_K8S_DRAIN_TIMEOUT_SECONDS
idleTimeoutSeconds: DAFT_K8S_IDLE_TIMEOUT_SECONDS
maxTaskAttempts: DAFT_K8S_MAX_TASK_ATTEMPTS
maxOomAttempts: DAFT_K8S_MAX_OOM_ATTEMPTS
maxWorkerRestarts: DAFT_K8S_MAX_WORKER_RESTARTS
recoveryMemory: DAFT_K8S_RECOVERY_MEMORY
queueAhead: DAFT_K8S_QUEUE_AHEAD
shufflePartitions: DAFT_K8S_SHUFFLE_PARTITIONS
storeMemoryShare: DAFT_K8S_STORE_MEMORY_SHARE
spillDir: DAFT_K8S_SPILL_DIR
spillSizeLimit: DAFT_K8S_SPILL_SIZE_LIMIT
maxMessageBytes: DAFT_K8S_MAX_MESSAGE_BYTES
tls: DAFT_K8S_TLS
trustWorkers: DAFT_K8S_TRUST_WORKERS
logLevel: DAFT_K8S_LOG_LEVEL
logFormat: DAFT_K8S_LOG_FORMAT
workerOutput: DAFT_K8S_WORKER_OUTPUT
eventLog: DAFT_K8S_EVENT_LOG
metricsPort: DAFT_K8S_METRICS_PORT
workingDir: DAFT_K8S_WORKING_DIR
codeSizeLimit: DAFT_K8S_CODE_SIZE_LIMIT
pip: DAFT_K8S_PIP
env: DAFT_K8S_ENV
passEnv: DAFT_K8S_PASS_ENV
namespace: DAFT_K8S_NAMESPACE
kubeContext: DAFT_K8S_KUBE_CONTEXT
image: DAFT_K8S_IMAGE
imagePullPolicy: DAFT_K8S_IMAGE_PULL_POLICY
imagePullSecrets: DAFT_K8S_IMAGE_PULL_SECRETS
serviceAccount: DAFT_K8S_SERVICE_ACCOUNT
nodeSelector: DAFT_K8S_NODE_SELECTOR
tolerations: DAFT_K8S_TOLERATIONS
priorityClass: DAFT_K8S_PRIORITY_CLASS
labels: DAFT_K8S_LABELS
annotations: DAFT_K8S_ANNOTATIONS
podTemplate: DAFT_K8S_POD_TEMPLATE
sharedPaths: DAFT_K8S_SHARED_PATHS
{{- end -}}

{{/* daft_k8s.kube.objects.rights: what the driver does with the API. */}}
{{- define "daft.roleRules" -}}
- apiGroups: ['']
  resources: [pods]
  verbs: [create, get, list, watch, delete, deletecollection]
- apiGroups: ['']
  resources: [secrets]
  verbs: {{ ternary "[create, delete]" "[create]" .Values.rbac.deleteSecrets }}
- apiGroups: ['']
  resources: [resourcequotas]
  verbs: [list]
- apiGroups: ['']
  resources: [events]
  verbs: [list]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create, list, patch, delete]
{{- if eq .Values.workers.allocationMode "statefulset" }}
- apiGroups: ['']
  resources: [services]
  verbs: [create, delete]
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [create, patch, delete]
{{- end }}
{{- end -}}

{{/* daft_k8s.kube.objects.manifest: control and data. */}}
{{- define "daft.workerPorts" -}}
- {protocol: TCP, port: 7777}
- {protocol: TCP, port: 7778}
{{- end -}}
