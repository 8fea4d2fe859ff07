{{- /* What every part of ours asks of the cluster. */ -}}
{{- define "redial.commonEgress" -}}
# The API server says which coordinators, edges and policies there are. Its address is not a pod's.
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
# Names are looked up.
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- with .Values.telemetry.otlpEndpoint }}
# Traces, metrics and logs go to the collector.
- ports:
    - {port: {{ include "redial.port" (list . "4317") }}, protocol: TCP}
{{- end }}
{{- end -}}
