package wire

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"
)

// DecodeJSON reads the document of a request of the JSON 1.1 protocol into an Input
// struct of the SDK: a member that is none, or has another type, is an error, and
// so is a required one that is missing.
//
// https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
func (s *Service) DecodeJSON(text []byte, input any) *Error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return &Error{Code: "SerializationException", Message: "the body is no JSON object"}
	}
	v := reflect.ValueOf(input).Elem()
	for name, value := range members {
		f := v.FieldByName(name) // exactly so written
		if !f.IsValid() || !f.CanSet() {
			return unknown(name)
		}
		if json.Unmarshal(value, f.Addr().Interface()) != nil {
			return &Error{Code: "SerializationException", Message: "the member " + name + " is of another type"}
		}
	}
	return s.Complete(v, "")
}

// EncodeJSON is the body of a successful answer: an Output struct of the SDK
// without what is not set.
func EncodeJSON(output any) ([]byte, error) {
	v, err := jsonValue(reflect.ValueOf(output).Elem())
	if err != nil {
		return nil, err
	}
	return json.Marshal(v)
}

func jsonValue(v reflect.Value) (any, error) {
	switch {
	case v.Kind() == reflect.Pointer:
		return jsonValue(v.Elem())
	case v.Type() == timeType:
		return float64(v.Interface().(time.Time).UnixMilli()) / 1000, nil
	case v.Kind() == reflect.Struct:
		object := map[string]any{}
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() || f.Name == "ResultMetadata" || v.Field(i).IsZero() {
				continue
			}
			member, err := jsonValue(v.Field(i))
			if err != nil {
				return nil, err
			}
			object[f.Name] = member
		}
		return object, nil
	case slices.Contains([]reflect.Kind{reflect.String, reflect.Bool, reflect.Int32, reflect.Int64, reflect.Slice}, v.Kind()):
		return v.Interface(), nil // lists are of strings or bytes
	}
	return nil, fmt.Errorf("a %s cannot be written", v.Type())
}

// EncodeJSONError is the body of the answer to a failed request.
func EncodeJSONError(e *Error, _ string) []byte {
	text, err := json.Marshal(map[string]string{"__type": e.Code, "message": e.Message})
	if err != nil {
		panic(err) // two strings
	}
	return text
}
