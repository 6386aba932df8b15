package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestNoErrorIsLoggedUnchecked checks that the text of an error, which may quote a request, is
// logged only through package faults, or by code that knows which errors it gets.
func TestNoErrorIsLoggedUnchecked(t *testing.T) {
	t.Parallel()
	levels := []string{"Debug", "Info", "Warn", "Error", "DebugContext", "InfoContext", "WarnContext", "ErrorContext", "Log", "LogAttrs"}
	root := houseRoot(t)
	fset := token.NewFileSet()
	seen := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != root && notOfTheModule(path, d.Name()) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".gen.go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains(levels, method.Sel.Name) || len(call.Args) < 2 {
				return true
			}
			seen++
			for _, arg := range call.Args {
				ast.Inspect(arg, func(n ast.Node) bool {
					if inner, ok := n.(*ast.CallExpr); ok && guarded(inner) {
						return false
					}
					if name, ok := n.(*ast.Ident); ok && (name.Name == "err" || name.Name == "Err") {
						t.Errorf("%s: an error is logged that package faults has not looked at", fset.Position(name.Pos()))
					}
					return true
				})
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 10 {
		t.Errorf("only %d lines of the log were found: the test looks in the wrong directory", seen)
	}
}

// guarded reports whether a call returns a part of an error that may be logged: its checked text,
// or a number.
func guarded(call *ast.CallExpr) bool {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name == "fetchFault" || f.Name == "len"
	case *ast.SelectorExpr:
		pkg, ok := f.X.(*ast.Ident)
		return ok && pkg.Name == "faults"
	}
	return false
}
