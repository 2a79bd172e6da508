{{/* Names, labels, and the durations that have to add up. */}}

{{- define "penstock.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* Cut to 52, so that every suffix used here still fits into 63. */}}
{{- define "penstock.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Objects outside the release's namespace carry it in their name: two releases may have the same name. */}}
{{- define "penstock.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "penstock.fullname" .) -}}
{{- end -}}

{{- define "penstock.selectorLabels" -}}
app.kubernetes.io/name: {{ include "penstock.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "penstock.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "penstock.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "penstock.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "penstock.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "penstock.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* YAML reads a bare `off` as false: both mean off. */}}
{{- define "penstock.switch" -}}
{{- if kindIs "bool" . -}}{{- ternary "on" "off" . -}}{{- else -}}{{- . -}}{{- end -}}
{{- end -}}

{{/* Milliseconds of a duration such as 1m30s or 500ms. */}}
{{- define "penstock.milliseconds" -}}
{{- $units := dict "h" 3600000 "m" 60000 "s" 1000 "ms" 1 -}}
{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|h|m|s)" . -1 -}}
{{- $sum = add $sum (mul (regexFind "^[0-9]+" . | atoi) (get $units (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end -}}

{{/* Seconds that a drain can take, with 5 in reserve for the last Close frames and the exit. */}}
{{- define "penstock.drainSeconds" -}}
{{- $delay := include "penstock.milliseconds" .Values.drain.delay | atoi -}}
{{- $timeout := include "penstock.milliseconds" .Values.drain.timeout | atoi -}}
{{- add (div (add $delay $timeout 999) 1000) 5 -}}
{{- end -}}

{{- define "penstock.gracePeriod" -}}
{{- $least := include "penstock.drainSeconds" . | atoi -}}
{{- $given := .Values.terminationGracePeriodSeconds -}}
{{- if kindIs "invalid" $given -}}
{{- $least -}}
{{- else if lt (int $given) $least -}}
{{- fail (printf "terminationGracePeriodSeconds is %d, but drain.delay (%s) + drain.timeout (%s) + 5 seconds are %d: set at least that, or leave it out to have it computed" (int $given) .Values.drain.delay .Values.drain.timeout $least) -}}
{{- else -}}
{{- int $given -}}
{{- end -}}
{{- end -}}

{{/* What does not go together, said before anything is installed. */}}
{{- define "penstock.validate" -}}
{{- if and .Values.drain.spread (gt (include "penstock.milliseconds" .Values.drain.spread | atoi) (include "penstock.milliseconds" .Values.drain.timeout | atoi)) -}}
{{- fail (printf "drain.spread (%s) is longer than drain.timeout (%s), whose last part it is" .Values.drain.spread .Values.drain.timeout) -}}
{{- end -}}
{{- if and .Values.hostPorts (ne .Values.gatewayService "shared") -}}
{{- fail "hostPorts need gatewayService: shared, because with `own` listeners bind ports that nobody can know beforehand" -}}
{{- end -}}
{{- if and .Values.publishService (ne .Values.gatewayService "shared") -}}
{{- fail "publishService needs gatewayService: shared; with `own` the addresses come from each gateway's own Service" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (eq .Values.kind "DaemonSet") -}}
{{- fail "autoscaling.enabled needs kind: Deployment; a DaemonSet has one Pod per node" -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas (%d) is above autoscaling.maxReplicas (%d)" (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- end -}}
{{- end -}}
