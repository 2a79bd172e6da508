{{/* What the process may do in every namespace that it watches: read, and write statuses and Events. Each verb is a call in
crates/controller; tests/charts/rendered.py has the same list. */}}
{{- define "penstock.watchRules" -}}
- apiGroups: [penstock.dev]
  resources: [applicationgateways, routingrules]
  verbs: [get, list, watch]
- apiGroups: [penstock.dev]
  resources: [applicationgateways/status, routingrules/status]
  verbs: [patch]
# Secrets: one watch of type kubernetes.io/tls; contents are kept only when a gateway refers to them.
# ConfigMaps: metadata by a watch, contents when a gateway refers to them.
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [services]
  verbs: [list, watch]
# One ready Pod of a Service in use, for its readinessProbe.
- apiGroups: [""]
  resources: [pods]
  verbs: [get]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [referencegrants]
  verbs: [list, watch]
# An Event lies in the namespace of the object that it is about.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{- define "penstock.subject" -}}
- kind: ServiceAccount
  name: {{ include "penstock.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
