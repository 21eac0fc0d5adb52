/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/http/credentials.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>
#include "fetch/base/path.h"

#define TOKEN_MAX 65536u
#define PEM_MAX (16u << 20)

static bool is_token_char(char c)
{
	return g_ascii_isalnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* Headers that change the meaning of an answer: users cannot set them. */
static bool header_is_ours(const char *name, size_t length)
{
	static const char *const ours[] = {"Accept-Encoding",   "Connection", "Content-Length",
	                                   "If-Match",          "If-Range",   "If-None-Match",
	                                   "If-Modified-Since", "Range",      "If-Unmodified-Since",
	                                   "Transfer-Encoding", "TE",         "Upgrade"};
	for (size_t i = 0; i < G_N_ELEMENTS(ours); i++)
		if (strlen(ours[i]) == length && g_ascii_strncasecmp(ours[i], name, length) == 0)
			return true;
	return false;
}

static bool header_check(const char *header, GError **error)
{
	size_t length = 0;
	while (is_token_char(header[length]))
		length++;
	if (length == 0 || header[length] != ':') {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "a header is not \"Name: value\"");
		return false;
	}
	for (const unsigned char *c = (const unsigned char *)header; *c != '\0'; c++)
		if ((*c < 0x20 && *c != '\t') || *c == 0x7f) {
			g_set_error(error, FETCH_ERROR, FETCH_USAGE,
			            "header %.*s: a control character in its value", (int)length,
			            header);
			return false;
		}
	if (header_is_ours(header, length)) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "header %.*s cannot be set",
		            (int)length, header);
		return false;
	}
	if (header[length + 1 + strspn(header + length + 1, " \t")] == '\0') {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "header %.*s has no value",
		            (int)length, header);
		return false;
	}
	return true;
}

/* Whole, at most `max` bytes; NULL with errno. */
static GByteArray *read_all(int fd, size_t max)
{
	GByteArray *out = g_byte_array_new();
	guint8 buffer[4096];
	for (;;) {
		ssize_t got = TEMP_FAILURE_RETRY(read(fd, buffer, sizeof(buffer)));
		if (got == 0)
			return out;
		if (got < 0 || out->len + (size_t)got > max) {
			int saved = got < 0 ? errno : EFBIG;
			g_byte_array_unref(out);
			errno = saved;
			return NULL;
		}
		g_byte_array_append(out, buffer, (guint)got);
	}
}

/* Closes `fd`. */
static GByteArray *read_fd(int fd, size_t max)
{
	if (fd < 0)
		return NULL;
	GByteArray *out = read_all(fd, max);
	int saved = errno;
	close(fd);
	errno = saved;
	return out;
}

static GBytes *open_pem(const char *what, const char *path, GError **error)
{
	GByteArray *pem = read_fd(open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), PEM_MAX);
	if (pem == NULL) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "%s %s: %s", what, path,
		            g_strerror(errno));
		return NULL;
	}
	g_autoptr(GBytes) bytes = g_byte_array_free_to_bytes(pem);
	gsize size;
	const char *text = g_bytes_get_data(bytes, &size);
	if (text == NULL || memmem(text, size, "-----BEGIN ", 11) == NULL) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "%s %s: no PEM in it", what, path);
		return NULL;
	}
	return g_steal_pointer(&bytes);
}

static bool key_is_plain(const char *path, GBytes *key, GError **error)
{
	gsize size;
	const char *text = g_bytes_get_data(key, &size);
	if (memmem(text, size, "PRIVATE KEY-----", 16) == NULL)
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "%s: no private key in it", path);
	else if (memmem(text, size, "ENCRYPTED", 9) != NULL)
		g_set_error(error, FETCH_ERROR, FETCH_USAGE,
		            "%s: the key is encrypted; it must not need a passphrase", path);
	else
		return true;
	return false;
}

static bool open_cert(struct credentials *c, const char *cert, const char *key, GError **error)
{
	if (cert == NULL && key == NULL)
		return true;
	if (cert == NULL) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE,
		            "--key needs --cert: no certificate is given");
		return false;
	}
	c->cert = open_pem("certificate", cert, error);
	if (c->cert == NULL)
		return false;
	c->key = key != NULL ? open_pem("key", key, error) : g_bytes_ref(c->cert);
	return c->key != NULL && key_is_plain(key != NULL ? key : cert, c->key, error);
}

static bool secret_open(struct secret_file *f, const char *path, GError **error)
{
	g_autofree char *folder = g_path_get_dirname(path);
	f->shown = g_strdup(path);
	f->name = g_path_get_basename(path);
	f->dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (f->dir < 0) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "%s file %s: %s", f->what, path,
		            g_strerror(errno));
		return false;
	}
	return true;
}

static int secret_fd(const struct secret_file *f)
{
	if (!f->open)
		return openat(f->dir, f->name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	int fd = f->open(f->shown);
	if (fd >= 0)
		return fd;
	errno = -fd;
	return -1;
}

static void secret_close(struct secret_file *f)
{
	if (f->dir >= 0)
		close(f->dir);
	g_free(f->name);
	g_free(f->shown);
}

/* Notes the content of a file. */
static void secret_seen(struct credentials *c, struct secret_file *f, const void *text,
                        size_t length)
{
	uint64_t hash = XXH3_64bits(text, length) | 1;
	if (f->seen != 0 && f->seen != hash) {
		c->generation++;
		g_message("%s file %s: its content is new", f->what, f->shown);
	}
	f->seen = hash;
}

/* libcurl opens a file for each request, where it may be that nothing but this one can be opened.
 */
static int netrc_copy(const GByteArray *text)
{
	int fd = memfd_create("netrc", MFD_CLOEXEC);
	if (fd >= 0 && write(fd, text->data, text->len) != (ssize_t)text->len) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void netrc_renew(struct credentials *c)
{
	g_autoptr(GByteArray) text = read_fd(secret_fd(&c->netrc_file), PEM_MAX);
	int fd = text != NULL ? netrc_copy(text) : -1;
	if (fd < 0)
		return;
	if (c->netrc >= 0)
		close(c->netrc);
	else
		c->generation++; /* there was none before */
	c->netrc = fd;
	secret_seen(c, &c->netrc_file, text->data, text->len);
}

static void netrc_open(struct credentials *c)
{
	g_autofree char *home = path_home();
	g_autofree char *path = g_build_filename(home, ".netrc", NULL);
	if (secret_open(&c->netrc_file, path, NULL))
		netrc_renew(c);
}

struct credentials *credentials_new(char *user, char *password,
                                    const struct source_options *options, GError **error)
{
	struct credentials *c = g_new0(struct credentials, 1);
	char *none[] = {NULL};
	bool good = true;
	c->user = user;
	c->password = password;
	c->digest = options->digest;
	c->token = (struct secret_file){.what = "token", .dir = -1, .open = options->secret_open};
	c->query = (struct secret_file){.what = "query", .dir = -1, .open = options->secret_open};
	c->netrc_file =
	        (struct secret_file){.what = "netrc", .dir = -1, .open = options->secret_open};
	c->netrc = -1;
	if (!options->no_netrc && user == NULL)
		netrc_open(c);
	c->headers = g_strdupv(options->headers != NULL ? options->headers : none);
	for (char **h = c->headers; good && *h != NULL; h++)
		good = header_check(*h, error);
	if (good && options->ca_file != NULL)
		good = (c->ca = open_pem("CA file", options->ca_file, error)) != NULL;
	if (good && options->token_file != NULL)
		good = secret_open(&c->token, options->token_file, error);
	if (good && options->query_file != NULL)
		good = secret_open(&c->query, options->query_file, error);
	good = good && open_cert(c, options->cert_file, options->key_file, error);
	if (good)
		return c;
	credentials_free(c);
	return NULL;
}

static void secret_free(char *secret)
{
	if (secret != NULL)
		explicit_bzero(secret, strlen(secret));
	g_free(secret);
}

void credentials_free(struct credentials *c)
{
	if (c == NULL)
		return;
	secret_close(&c->token);
	secret_close(&c->query);
	secret_close(&c->netrc_file);
	if (c->netrc >= 0)
		close(c->netrc);
	secret_free(c->user);
	secret_free(c->password);
	g_strfreev(c->headers);
	g_clear_pointer(&c->ca, g_bytes_unref);
	g_clear_pointer(&c->cert, g_bytes_unref);
	g_clear_pointer(&c->key, g_bytes_unref);
	g_free(c);
}

static bool secret_refused(const struct secret_file *f, GError **error, const char *why)
{
	g_set_error(error, FETCH_ERROR, FETCH_DENIED, "%s file %s: %s", f->what, f->shown, why);
	return false;
}

static bool secret_check(const struct secret_file *f, GByteArray *text, GError **error)
{
	while (text->len > 0 && strchr(" \t\r\n", text->data[text->len - 1]) != NULL)
		g_byte_array_set_size(text, text->len - 1);
	if (text->len == 0)
		return secret_refused(f, error, "it is empty");
	for (guint i = 0; i < text->len; i++)
		if (text->data[i] <= 0x20 || text->data[i] >= 0x7f)
			return secret_refused(f, error, "a byte in it that cannot be sent");
	return true;
}

static char *secret_read(const struct secret_file *f, GError **error)
{
	g_autoptr(GByteArray) text = read_fd(secret_fd(f), TOKEN_MAX);
	if (text == NULL) {
		secret_refused(f, error, g_strerror(errno));
		return NULL;
	}
	if (!secret_check(f, text, error))
		return NULL;
	return g_strndup((const char *)text->data, text->len);
}

char *credentials_token(struct credentials *c, GError **error)
{
	char *text = secret_read(&c->token, error);
	if (text != NULL)
		secret_seen(c, &c->token, text, strlen(text));
	return text;
}

bool credentials_renewed(struct credentials *c, unsigned generation)
{
	if (c->generation != generation)
		return true;
	if (c->token.name != NULL)
		g_free(credentials_token(c, NULL));
	if (c->query.name != NULL)
		g_free(credentials_query(c, NULL));
	if (c->netrc_file.name != NULL)
		netrc_renew(c);
	return c->generation != generation;
}

char *credentials_query(struct credentials *c, GError **error)
{
	g_autofree char *text = secret_read(&c->query, error);
	if (text == NULL)
		return NULL;
	secret_seen(c, &c->query, text, strlen(text));
	if (strchr(text, '#') != NULL) {
		secret_refused(&c->query, error, "a byte in it that cannot be sent");
		return NULL;
	}
	return g_strdup(text[0] == '?' ? text + 1 : text);
}
