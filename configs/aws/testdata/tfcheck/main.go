// Command tfcheck reads Terraform files of one directory and prints what they
// declare and refer to as JSON, for configs/aws's tests. It is a module of its own
// so that HashiCorp's HCL stays a tool and is no dependency of the product.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
)

// Block is a block of any depth; Attributes are the source texts of expressions.
type Block struct {
	Type       string
	Labels     []string
	Line       int
	Attributes map[string]string
	Blocks     []Block `json:",omitempty"`
}

// Reference is a traversal such as var.name or aws_lb.this[0].arn, up to its
// first index.
type Reference struct {
	Path []string
	File string
	Line int
}

// Output is all of one directory.
type Output struct {
	Unformatted []string
	Errors      []string
	Blocks      []Block
	References  []Reference
}

func main() {
	var out Output
	files, err := filepath.Glob(filepath.Join(os.Args[1], "*.tf"))
	if err != nil || len(files) == 0 {
		fmt.Fprintln(os.Stderr, "tfcheck: no *.tf in", os.Args[1], err)
		os.Exit(1)
	}
	sort.Strings(files)
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if !bytes.Equal(hclwrite.Format(src), src) {
			out.Unformatted = append(out.Unformatted, filepath.Base(name))
		}
		f, diags := hclsyntax.ParseConfig(src, filepath.Base(name), hcl.InitialPos)
		for _, d := range diags {
			out.Errors = append(out.Errors, d.Error())
		}
		if diags.HasErrors() {
			continue
		}
		body := f.Body.(*hclsyntax.Body)
		out.Blocks = append(out.Blocks, blocks(body, src)...)
		out.References = append(out.References, references(body)...)
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
		os.Exit(1)
	}
}

func blocks(b *hclsyntax.Body, src []byte) []Block {
	var out []Block
	for _, x := range b.Blocks {
		k := Block{Type: x.Type, Labels: x.Labels, Line: x.Range().Start.Line, Attributes: map[string]string{}, Blocks: blocks(x.Body, src)}
		for name, a := range x.Body.Attributes {
			k.Attributes[name] = string(a.Expr.Range().SliceBytes(src))
		}
		out = append(out, k)
	}
	return out
}

func references(b *hclsyntax.Body) []Reference {
	var out []Reference
	for _, a := range b.Attributes {
		out = append(out, of(a.Expr.Variables())...)
	}
	for _, x := range b.Blocks {
		out = append(out, references(x.Body)...)
	}
	return out
}

func of(list []hcl.Traversal) []Reference {
	var out []Reference
	for _, t := range list {
		r := Reference{File: t.SourceRange().Filename, Line: t.SourceRange().Start.Line}
	steps:
		for _, s := range t {
			switch s := s.(type) {
			case hcl.TraverseRoot:
				r.Path = append(r.Path, s.Name)
			case hcl.TraverseAttr:
				r.Path = append(r.Path, s.Name)
			default:
				break steps
			}
		}
		out = append(out, r)
	}
	return out
}
