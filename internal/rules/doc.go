// Package rules holds no code, only tests of the rules that the whole module
// keeps: who may import what (imports_test.go), what the pure packages may not
// do (pure_test.go), how files and packages look (house_test.go), and under
// which licences the modules we link come (licences_test.go).
package rules
