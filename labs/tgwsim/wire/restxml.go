package wire

import (
	"encoding/xml"
	"io"
	"reflect"
	"strings"
)

// element is one element of a document with all that is in it.
type element struct {
	XMLName  xml.Name
	Text     string     `xml:",chardata"`
	Children []*element `xml:",any"`
}

// DecodeXML reads a request's document, whose root must be of the service's
// namespace, into what of the Input struct of the SDK is in the body. Errors are
// as those of Decode, or MalformedInput.
func (s *Service) DecodeXML(body io.Reader, root string, input any) *Error {
	e := &element{}
	if err := xml.NewDecoder(body).Decode(e); err != nil || e.XMLName.Local != root || e.XMLName.Space != s.Namespace {
		return &Error{Code: "MalformedInput", Message: "The body is no " + root + " of " + s.Namespace}
	}
	return s.decodeElements(e, reflect.ValueOf(input).Elem(), "")
}

func (s *Service) decodeElements(e *element, v reflect.Value, path string) *Error {
	names := s.namesOf(s.Params, v.Type())
	for _, c := range e.Children {
		at := join(path, c.XMLName.Local)
		field := ""
		for f, name := range names {
			if name == c.XMLName.Local {
				field = f
			}
		}
		if field == "" || !v.FieldByName(field).IsZero() {
			return unknown(at)
		}
		if err := s.decodeElement(c, v.FieldByName(field), at); err != nil {
			return err
		}
	}
	if path == "" {
		return nil // the rest is in the address
	}
	return s.Complete(v, path)
}

func (s *Service) decodeElement(e *element, v reflect.Value, path string) *Error {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	switch {
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), len(e.Children), len(e.Children)))
		for i, c := range e.Children {
			at := join(path, c.XMLName.Local)
			if c.XMLName.Local != s.item(v.Type().Elem()) {
				return unknown(at)
			}
			if err := s.decodeElement(c, v.Index(i), at); err != nil {
				return err
			}
		}
		return nil
	case v.Kind() == reflect.Struct && v.Type() != timeType:
		if strings.TrimSpace(e.Text) != "" {
			return unknown(path)
		}
		return s.decodeElements(e, v, path)
	case len(e.Children) > 0:
		return unknown(path)
	}
	return decodeScalar(e.Text, v, path)
}
