{{/*
Gives empty values their defaults, such as `podAnnotations:` with everything below it commented out: Helm would delete the default. Each rendered
template starts with this. What is below a documented value (`resources.limits`) is left to the user.
*/}}
{{- define "backpack-streams.fillValues" -}}
{{- $root := . -}}
{{- range $path, $default := .Files.Get "files/defaults.json" | fromJson -}}
{{- $words := splitList "." $path -}}
{{- $part := $root.Values -}}
{{- range initial $words -}}
{{- if not (kindIs "map" (get $part .)) -}}{{- $_ := set $part . dict -}}{{- end -}}
{{- $part = get $part . -}}
{{- end -}}
{{- if or (not (hasKey $part (last $words))) (kindIs "invalid" (get $part (last $words))) -}}
{{- $_ := set $part (last $words) $default -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
The `config` of all services with that of one on top, as JSON. The service's form of the proxy, URL or file, replaces the other form: the program
takes one of them. Takes `root`, `values`.
*/}}
{{- define "backpack-streams.config" -}}
{{- $config := deepCopy .root.Values.config -}}
{{- range $name, $value := .values.config -}}
{{- if not (kindIs "invalid" $value) -}}
{{- $_ := set $config $name $value -}}
{{- if eq $name "exchange_proxy" -}}{{- $_ := unset $config "exchange_proxy_file" -}}{{- end -}}
{{- if eq $name "exchange_proxy_file" -}}{{- $_ := unset $config "exchange_proxy" -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $config -}}
{{- end -}}

{{/* Each service's part of the values, by component, as JSON. */}}
{{- define "backpack-streams.services" -}}
{{- dict
  "market-producer" .Values.marketProducer
  "perp-producer" .Values.perpProducer
  "account-producer" .Values.accountProducer
  "rest-poller" .Values.restPoller
  "book-builder" .Values.bookBuilder
  "gateway" .Values.gateway
| toJson -}}
{{- end -}}

{{/* Merges several string maps into one, as YAML: the first value of a name counts, and a name without a value is omitted. */}}
{{- define "backpack-streams.words" -}}
{{- $words := dict -}}
{{- range . -}}
{{- range $name, $value := . -}}
{{- if not (or (hasKey $words $name) (kindIs "invalid" $value)) -}}{{- $_ := set $words $name (toString $value) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- if $words -}}{{- toYaml $words -}}{{- end -}}
{{- end -}}

{{/* The `config` of each service by its path in the values, as JSON. */}}
{{- define "backpack-streams.configs" -}}
{{- dict
  "marketProducer.config" (.Values.marketProducer.config | default dict)
  "perpProducer.config" (.Values.perpProducer.config | default dict)
  "accountProducer.config" (.Values.accountProducer.config | default dict)
  "restPoller.config" (.Values.restPoller.config | default dict)
  "gateway.config" (.Values.gateway.config | default dict)
| toJson -}}
{{- end -}}

{{/* Memory limit of a service in MiB, rounded down; empty if it has none, and for quantities in other forms. Takes the service's values. */}}
{{- define "backpack-streams.memoryLimit" -}}
{{- $limit := get (get (.resources | default dict) "limits" | default dict) "memory" | default "" -}}
{{- $text := kindIs "string" $limit | ternary $limit (printf "%d" (int64 (kindIs "string" $limit | ternary 0 $limit))) -}}
{{- if regexMatch "^[0-9]+([.][0-9]+)?([KMGT]i|[kMGT])?$" $text -}}
{{- $unit := get (dict "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000) (regexFind "[KMGTki]+$" $text) | default 1 -}}
{{- divf (mulf (float64 (regexFind "^[0-9.]+" $text)) $unit) 1048576 | floor | int64 -}}
{{- end -}}
{{- end -}}
