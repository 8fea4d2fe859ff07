{{- /* redis.conf: (list . PASSWORD). Evicting would forget watches that were promised, so a full Redis refuses instead. */ -}}
{{- define "redial.redisConf" -}}
bind * -::*
port 6379
dir /data
requirepass {{ index . 1 }}
appendonly yes
appendfsync {{ (index . 0).Values.redis.bundled.appendfsync }}
save ""
maxmemory-policy noeviction
notify-keyspace-events Ex
{{ end -}}
