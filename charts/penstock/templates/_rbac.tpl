{{/* What the process may do in every namespace that it watches: read, and write statuses and Events. */}}
{{- define "penstock.watchRules" -}}
- apiGroups: [penstock.dev]
  resources: [applicationgateways, routingrules]
  verbs: [get, list, watch]
- apiGroups: [penstock.dev]
  resources: [applicationgateways/status, routingrules/status]
  verbs: [update, patch]
# Secrets: one watch of type kubernetes.io/tls; contents are kept only when a gateway refers to them.
# ConfigMaps: metadata by a watch, contents when a gateway refers to them.
- apiGroups: [""]
  resources: [services, secrets, configmaps]
  verbs: [get, list, watch]
# One ready Pod of a Service in use, for its readinessProbe.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
- apiGroups: [gateway.networking.k8s.io]
  resources: [referencegrants]
  verbs: [get, list, watch]
# An Event lies in the namespace of the object that it is about.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}

{{- define "penstock.subject" -}}
- kind: ServiceAccount
  name: {{ include "penstock.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
