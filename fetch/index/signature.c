/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/index/signature.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <string.h>

struct signer {
	EVP_PKEY *key; /* owned */
};

struct keyring {
	unsigned count;
	EVP_PKEY *keys[KEYRING_KEYS]; /* owned */
	struct digest names[KEYRING_KEYS];
};

static BIO *file_open(const char *path, GError **error)
{
	errno = 0;
	BIO *file = BIO_new_file(path, "re");
	int code = errno != 0 ? errno : EIO;
	if (file == NULL)
		g_set_error(error, LOCAL_ERROR, code, "%s: %s", path, g_strerror(code));
	ERR_clear_error();
	return file;
}

static bool refuse(GError **error, const char *path, const char *why)
{
	ERR_clear_error();
	g_set_error(error, FETCH_ERROR, FETCH_USAGE, "%s: %s", path, why);
	return false;
}

static bool is_ed25519(const EVP_PKEY *key)
{
	return EVP_PKEY_get_base_id(key) == EVP_PKEY_ED25519;
}

/* libcrypto fails here without memory only. */
static bool verify(EVP_PKEY *key, const void *text, size_t size, const struct signature *s)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool ok = c != NULL && EVP_DigestVerifyInit(c, NULL, NULL, NULL, key) == 1 &&
	          EVP_DigestVerify(c, s->bytes, SIGNATURE_SIZE, text, size) == 1;
	EVP_MD_CTX_free(c);
	ERR_clear_error();
	return ok;
}

struct signer *signer_open(const char *path, GError **error)
{
	BIO *file = file_open(path, error);
	if (file == NULL)
		return NULL;
	EVP_PKEY *key = PEM_read_bio_PrivateKey(file, NULL, NULL, NULL);
	BIO_free(file);
	if (key == NULL || !is_ed25519(key)) {
		EVP_PKEY_free(key);
		refuse(error, path,
		       "expects an Ed25519 private key (openssl genpkey -algorithm ed25519)");
		return NULL;
	}
	struct signer *s = g_new0(struct signer, 1);
	s->key = key;
	return s;
}

void signer_free(struct signer *s)
{
	if (s == NULL)
		return;
	EVP_PKEY_free(s->key);
	g_free(s);
}

void signer_sign(const struct signer *s, const void *text, size_t size, struct signature *out)
{
	size_t length = SIGNATURE_SIZE;
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	bool ok = c != NULL && EVP_DigestSignInit(c, NULL, NULL, NULL, s->key) == 1 &&
	          EVP_DigestSign(c, out->bytes, &length, text, size) == 1;
	EVP_MD_CTX_free(c);
	/* without memory, as g_malloc() */
	if (!ok || length != SIGNATURE_SIZE)
		g_error("libcrypto cannot sign");
}

bool signer_signed(const struct signer *s, const void *text, size_t size,
                   const struct signature *signature)
{
	return verify(s->key, text, size, signature);
}

/* false: libcrypto has no memory. */
static bool name_of(EVP_PKEY *key, struct digest *out)
{
	unsigned char *der = NULL;
	int size = i2d_PUBKEY(key, &der);
	if (size > 0)
		digest_of(der, (size_t)size, out);
	OPENSSL_free(der);
	return size > 0;
}

/* `key`: taken. */
static bool key_add(struct keyring *k, EVP_PKEY *key, const char *path, GError **error)
{
	const char *why = NULL;
	if (!is_ed25519(key))
		why = "has a public key that is not Ed25519";
	else if (k->count == KEYRING_KEYS)
		why = "has more than 64 keys";
	else if (!name_of(key, &k->names[k->count]))
		why = "has a key that libcrypto cannot use";
	if (why != NULL) {
		EVP_PKEY_free(key);
		return refuse(error, path, why);
	}
	k->keys[k->count++] = key;
	return true;
}

/* The next key of the file. *end: there is none; NULL otherwise: what follows is no public key. */
static EVP_PKEY *key_next(BIO *file, bool *end)
{
	char *name = NULL, *header = NULL;
	unsigned char *der = NULL;
	long size = 0;
	EVP_PKEY *key = NULL;
	bool block = PEM_read_bio(file, &name, &header, &der, &size) == 1;
	*end = !block && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
	if (block && strcmp(name, PEM_STRING_PUBLIC) == 0 && header[0] == '\0') {
		const unsigned char *at = der;
		key = d2i_PUBKEY(NULL, &at, size);
	}
	OPENSSL_free(name);
	OPENSSL_free(header);
	OPENSSL_free(der);
	ERR_clear_error();
	return key;
}

static struct keyring *keyring_read(BIO *file, const char *path, GError **error)
{
	struct keyring *k = g_new0(struct keyring, 1);
	bool ok = true, end = false;
	EVP_PKEY *key;
	while (ok && (key = key_next(file, &end)) != NULL)
		ok = key_add(k, key, path, error);
	if (ok && (k->count == 0 || !end))
		ok = refuse(error, path,
		            "expects Ed25519 public keys in PEM (openssl pkey -in KEY -pubout)");
	if (ok)
		return k;
	keyring_free(k);
	return NULL;
}

struct keyring *keyring_open(const char *path, GError **error)
{
	BIO *file = file_open(path, error);
	if (file == NULL)
		return NULL;
	struct keyring *k = keyring_read(file, path, error);
	BIO_free(file);
	return k;
}

struct keyring *keyring_parse(const char *text, const char *path, GError **error)
{
	BIO *memory = BIO_new_mem_buf(text, -1);
	if (memory == NULL) {
		refuse(error, path, "no memory for its keys");
		return NULL;
	}
	struct keyring *k = keyring_read(memory, path, error);
	BIO_free(memory);
	return k;
}

char *keyring_text(const struct keyring *k)
{
	BIO *memory = BIO_new(BIO_s_mem());
	bool ok = memory != NULL;
	char *data = NULL;
	for (unsigned n = 0; ok && n < k->count; n++)
		ok = PEM_write_bio_PUBKEY(memory, k->keys[n]) == 1;
	long size = ok ? BIO_get_mem_data(memory, &data) : 0;
	char *text = ok ? g_strndup(data, (gsize)size) : NULL;
	BIO_free(memory);
	ERR_clear_error();
	return text;
}

void keyring_free(struct keyring *k)
{
	if (k == NULL)
		return;
	for (unsigned n = 0; n < k->count; n++)
		EVP_PKEY_free(k->keys[n]);
	g_free(k);
}

bool keyring_check(const struct keyring *k, const void *text, size_t size,
                   const struct signature *signature, struct digest *key)
{
	for (unsigned n = 0; n < k->count; n++)
		if (verify(k->keys[n], text, size, signature)) {
			*key = k->names[n];
			return true;
		}
	return false;
}
