package auth

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// minRSA is the minimum length of an RSA modulus, in bits (RFC 7518 §3.3).
const minRSA = 2048

// fixedKey is a single configured key. It ignores the kid of a token.
type fixedKey struct{ key any }

func (f fixedKey) keys(string) (any, error) { return f.key, nil }

func (f fixedKey) ready() error { return nil }

// parsePublicKey reads the one public key or certificate of a PEM file.
func parsePublicKey(data []byte) (any, error) {
	block, rest := pem.Decode(data)
	if block == nil {
		return nil, errors.New("auth: the public key is not a PEM file")
	}
	if next, _ := pem.Decode(rest); next != nil {
		return nil, errors.New("auth: the public key file must hold a single key")
	}
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, errors.New("auth: the public key file holds a private key, which this server must not have")
	}
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = certificate.PublicKey
		}
	default:
		return nil, fmt.Errorf("auth: a PEM block %q is not a public key", block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("auth: the public key cannot be read: %w", err)
	}
	return key, nil
}

// fits returns an error if a public key is not one for the algorithm or is too weak.
func fits(algorithm string, key any) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if algorithm != RS256 {
			break
		}
		if key.N.BitLen() < minRSA {
			return fmt.Errorf("auth: the RSA key must have at least %d bits", minRSA)
		}
		return nil
	case *ecdsa.PublicKey:
		if algorithm == ES256 && key.Curve == elliptic.P256() {
			return nil
		}
	case ed25519.PublicKey:
		if algorithm == EdDSA {
			return nil
		}
	}
	return fmt.Errorf("auth: the public key does not fit %s", algorithm)
}
