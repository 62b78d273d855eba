package main

import (
	"errors"

	"github.com/wgbgp/wgbgp/configs"
	"github.com/wgbgp/wgbgp/internal/api"
)

// checkFile is the daemon's own validation as a report.
func checkFile(path string) api.ConfigReport {
	_, warnings, err := configs.Load(path, configs.Options{CheckOnly: true})
	r := api.ConfigReport{Schema: api.Schema, File: path, OK: err == nil, Warnings: problems(warnings)}
	var ps configs.Problems
	switch {
	case errors.As(err, &ps):
		r.Errors = problems(ps)
	case err != nil:
		r.Errors = api.List[api.ConfigProblem]{{File: path, Problem: err.Error()}}
	}
	return r
}

func problems(ps configs.Problems) api.List[api.ConfigProblem] {
	var out api.List[api.ConfigProblem]
	for _, p := range ps {
		out = append(out, api.ConfigProblem{Code: p.Code, File: p.File, Line: p.Line, Key: p.Key, Problem: p.Text, Cure: p.Cure})
	}
	return out
}
