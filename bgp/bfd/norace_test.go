//go:build !race

package bfd

const race = false
