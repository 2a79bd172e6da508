{{/* What `penstock run` is told: its flags and its environment. */}}

{{- define "penstock.args" -}}
- run
- --class={{ .Values.className }}
- --gateway-service={{ .Values.gatewayService }}
- --drain-delay={{ .Values.drain.delay }}
- --drain-timeout={{ .Values.drain.timeout }}
{{- with .Values.drain.spread }}
- --drain-spread={{ . }}
{{- end }}
- --proxy-protocol={{ include "penstock.switch" .Values.proxyProtocol }}
- --access-log={{ include "penstock.switch" .Values.accessLog }}
{{- if ne (float64 .Values.accessLogSample) 1.0 }}
- --access-log-sample={{ .Values.accessLogSample }}
{{- end }}
{{- with .Values.tracing.endpoint }}
- --otlp-endpoint={{ . }}
- --trace-sample={{ $.Values.tracing.sample }}
{{- end }}
- --log-format={{ .Values.logFormat }}
{{- with .Values.trustedProxies }}
- --trusted-proxies={{ join "," . }}
{{- end }}
{{- range .Values.watchNamespaces }}
- --watch-namespace={{ . }}
{{- end }}
{{- with .Values.publishService }}
- --publish-service={{ . }}
{{- end }}
{{- with .Values.workers }}
- --workers={{ . }}
{{- end }}
{{- if .Values.allowExternalName }}
- --allow-external-name
{{- end }}
{{- if .Values.metrics.perRule }}
- --metrics-per-rule
{{- end }}
{{- if .Values.snapshot.enabled }}
- --snapshot-dir=/var/run/penstock
{{- end }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "penstock.env" -}}
- {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: POD_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
- {name: POD_IPS, valueFrom: {fieldRef: {fieldPath: status.podIPs}}}
- {name: RUST_LOG, value: {{ .Values.logLevel | quote }}}
# The owner of the Lease and of the gateways' Services.
- {name: PENSTOCK_OWNER, value: {{ include "penstock.fullname" . }}-owner}
# What TLS session tickets are sealed with, in every replica.
- {name: PENSTOCK_TICKET_SECRET, value: {{ include "penstock.fullname" . }}-session-tickets}
{{- if eq .Values.gatewayService "own" }}
# The selector of the gateways' Services, and what their spec.service leaves open.
- {name: PENSTOCK_POD_SELECTOR, value: "app.kubernetes.io/name={{ include "penstock.name" . }},app.kubernetes.io/instance={{ .Release.Name }}"}
- name: PENSTOCK_SERVICE_DEFAULTS
  value: {{ include "penstock.serviceDefaults" . | quote }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The fields of an ApplicationGateway's spec.service, as JSON. */}}
{{- define "penstock.serviceDefaults" -}}
{{- $service := dict "type" .Values.service.type -}}
{{- with .Values.service.annotations }}{{- $_ := set $service "annotations" . -}}{{- end -}}
{{- with .Values.service.externalTrafficPolicy }}{{- $_ := set $service "externalTrafficPolicy" . -}}{{- end -}}
{{- toJson $service -}}
{{- end -}}
