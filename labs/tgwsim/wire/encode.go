package wire

import (
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Encode is the body of the answer to a successful request: output is a pointer
// to an Output struct of the SDK. A field that is set but has no name on the
// wire is an error, since the client would never see it.
func (s *Service) Encode(operation, requestID string, output any) ([]byte, error) {
	var b strings.Builder
	b.WriteString(xml.Header)
	fmt.Fprintf(&b, "<%sResponse xmlns=%q>", operation, s.Namespace)
	switch {
	case s.EC2:
		b.WriteString("<requestId>" + requestID + "</requestId>")
	case !s.REST:
		b.WriteString("<" + operation + "Result>")
	}
	if err := s.encodeStruct(&b, reflect.ValueOf(output).Elem()); err != nil {
		return nil, fmt.Errorf("encode the answer to %s: %w", operation, err)
	}
	if !s.EC2 && !s.REST {
		b.WriteString("</" + operation + "Result><ResponseMetadata><RequestId>" + requestID + "</RequestId></ResponseMetadata>")
	}
	b.WriteString("</" + operation + "Response>")
	return []byte(b.String()), nil
}

func (s *Service) encodeStruct(b *strings.Builder, v reflect.Value) error {
	names := s.namesOf(s.Elements, v.Type())
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() || f.Name == "ResultMetadata" || v.Field(i).IsZero() {
			continue
		}
		name, ok := names[f.Name]
		if !ok {
			return fmt.Errorf("%s.%s has no name on the wire", v.Type(), f.Name)
		}
		if err := s.encode(b, name, v.Field(i)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) encode(b *strings.Builder, name string, v reflect.Value) error {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	b.WriteString("<" + name + ">")
	switch {
	case v.Type() == timeType:
		b.WriteString(v.Interface().(time.Time).UTC().Format("2006-01-02T15:04:05.000Z"))
	case v.Kind() == reflect.Struct:
		if err := s.encodeStruct(b, v); err != nil {
			return err
		}
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		b.WriteString(base64.StdEncoding.EncodeToString(v.Bytes()))
	case v.Kind() == reflect.Slice:
		item := s.item(v.Type().Elem())
		for i := range v.Len() {
			if err := s.encode(b, item, v.Index(i)); err != nil {
				return err
			}
		}
	default:
		if err := encodeScalar(b, v); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	b.WriteString("</" + name + ">")
	return nil
}

// item is the element of a list's items.
func (s *Service) item(elem reflect.Type) string {
	if name, ok := s.Elements["[]"+elem.Name()]["item"]; ok {
		return name
	}
	switch {
	case s.EC2:
		return "item"
	case s.REST:
		return elem.Name()
	}
	return "member"
}

func encodeScalar(b *strings.Builder, v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		return xml.EscapeText(b, []byte(v.String()))
	case reflect.Bool:
		b.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Int32, reflect.Int64:
		b.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Float64:
		b.WriteString(strconv.FormatFloat(v.Float(), 'g', -1, 64))
	default:
		return fmt.Errorf("a %s cannot be written", v.Type())
	}
	return nil
}
