// Reads each dashboard file with Grafana's own types, strictly: an unknown field, a wrong type or a missing one is an error, down to the
// options of each panel and the queries for Prometheus.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// The SDK returns an empty list of problems as an error, too.
func problem(err error) error {
	var list cog.BuildErrors
	if errors.As(err, &list) && len(list) == 0 {
		return nil
	}
	return err
}

func check(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := problem(new(dashboard.Dashboard).UnmarshalJSONStrict(text)); err != nil {
		return err
	}
	// Read strictly, panels are looked at and not kept.
	var read dashboard.Dashboard
	if err := json.Unmarshal(text, &read); err != nil {
		return err
	}
	if err := problem(read.Validate()); err != nil {
		return err
	}
	ids := map[uint32]bool{}
	for _, panel := range read.Panels {
		if panel.Panel == nil {
			continue
		}
		if panel.Panel.Id == nil || ids[*panel.Panel.Id] {
			return fmt.Errorf("panel %q has no id of its own", *panel.Panel.Title)
		}
		ids[*panel.Panel.Id] = true
	}
	fmt.Printf("%s: %d panels, schema version %d\n", path, len(ids), read.SchemaVersion)
	return nil
}

func main() {
	plugins.RegisterDefaultPlugins()
	var failed bytes.Buffer
	for _, path := range os.Args[1:] {
		if err := check(path); err != nil {
			fmt.Fprintf(&failed, "%s: %v\n", path, err)
		}
	}
	if failed.Len() > 0 || len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, failed.String())
		os.Exit(1)
	}
}
