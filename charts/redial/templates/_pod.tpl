{{- /* An image: (list . "sip-edge" .Values.edge.image) */ -}}
{{- define "redial.image" -}}
{{- $root := index . 0 -}}
{{- $own := index . 2 -}}
{{- with $root.Values.image.registry }}{{ . }}/{{ end -}}
{{- with $root.Values.image.repository }}{{ . }}/{{ end -}}
{{- index . 1 -}}
:{{ $own.tag | default $root.Values.image.tag | default $root.Chart.AppVersion -}}
{{- with $own.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{- define "redial.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "redial.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* Liveness asks about the process alone: a Redis or coordinator that is away must not restart anything. */ -}}
{{- define "redial.probes" -}}
startupProbe:
  httpGet: {path: /live, port: admin}
  periodSeconds: 2
  failureThreshold: 30
livenessProbe:
  httpGet: {path: /live, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet: {path: /ready, port: admin}
  periodSeconds: 3
  timeoutSeconds: 2
  failureThreshold: 2
{{- end -}}

{{- /* Where the pod is, for flags ($(POD_NAME)) and for every signal that is exported: (list . .Values.edge) */ -}}
{{- define "redial.env" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
{{- if $root.Values.telemetry.otlpEndpoint }}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: k8s.namespace.name=$(POD_NAMESPACE),k8s.pod.name=$(POD_NAME),k8s.pod.uid=$(POD_UID),k8s.node.name=$(NODE_NAME)
    {{- range $key, $value := $root.Values.telemetry.resourceAttributes }},{{ $key }}={{ $value }}{{ end }}
{{- end }}
{{- with $root.Values.telemetry.tls }}
{{- if .existingSecret }}
- {name: OTEL_EXPORTER_OTLP_CERTIFICATE, value: /etc/redial/otlp/{{ .ca }}}
{{- if .clientCertificate }}
- {name: OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE, value: /etc/redial/otlp/tls.crt}
- {name: OTEL_EXPORTER_OTLP_CLIENT_KEY, value: /etc/redial/otlp/tls.key}
{{- end }}
{{- end }}
{{- end }}
{{- with $part.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* Flags that every part has: (list . .Values.edge) */ -}}
{{- define "redial.commonArgs" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
- --admin={{ include "redial.any" $root }}:{{ $part.ports.admin }}
- --drain-delay={{ $part.drainDelaySeconds }}s
- --grace={{ $part.graceSeconds }}s
- --log={{ $root.Values.log.filter }}
- --log-format={{ $root.Values.log.format }}
{{- with $root.Values.telemetry.otlpEndpoint }}
- --otlp-endpoint={{ . }}
{{- end }}
{{- range $name, $value := $part.settings }}
{{- /* toJson, because a number printed otherwise becomes 1e+06. */}}
- {{ printf "--%s=%s" $name (kindIs "string" $value | ternary $value (toJson $value)) | quote }}
{{- end }}
{{- end -}}

{{- /* Nodes first, then zones; a pod that finds no such place still runs: (list . "edge") */ -}}
{{- define "redial.spread" -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "redial.selector" $ | nindent 6 }}
{{- end }}
{{- end -}}

{{- /* Where a pod may run: (list . "edge" .Values.edge) */ -}}
{{- define "redial.placement" -}}
{{- $part := index . 2 -}}
{{- with $part.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $part.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}
