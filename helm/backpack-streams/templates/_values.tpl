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
