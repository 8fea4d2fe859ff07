{{- define "redial.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- /* 45 leaves room for -coordinator and the suffixes that Deployments and pods add. */ -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "redial.edge" -}}{{ include "redial.fullname" . }}-edge{{- end -}}
{{- define "redial.peers" -}}{{ include "redial.fullname" . }}-edge-peers{{- end -}}
{{- define "redial.coordinator" -}}{{ include "redial.fullname" . }}-coordinator{{- end -}}
{{- /* The service account of a part: (list . "edge") */ -}}
{{- define "redial.account" -}}
{{- (index (index . 0).Values (index . 1)).serviceAccount.name | default (include (printf "redial.%s" (index . 1)) (index . 0)) -}}
{{- end -}}
{{- define "redial.redis" -}}{{ include "redial.fullname" . }}-redis{{- end -}}
{{- define "redial.secret" -}}{{ .Values.secret.existingSecret | default (printf "%s-secret" (include "redial.fullname" .)) }}{{- end -}}
{{- define "redial.users" -}}{{ .Values.users.existingSecret | default (printf "%s-users" (include "redial.fullname" .)) }}{{- end -}}

{{- /* Labels of an object: (list . "edge"); without a component for what belongs to all. */ -}}
{{- define "redial.labels" -}}
{{- $root := index . 0 -}}
{{ include "redial.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/part-of: redial
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Labels of a pod: nothing that changes with the chart, or an upgrade would replace pods for no reason. */ -}}
{{- define "redial.podLabels" -}}
{{ include "redial.selector" . }}
app.kubernetes.io/part-of: redial
{{- with (index . 0).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "redial.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride | trunc 63 }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- if gt (len .) 1 }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}
{{- end -}}
