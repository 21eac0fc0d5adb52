/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include "fetch/source/credentials.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define TOKEN_MAX 65536u
#define CA_MAX (16u << 20)

static bool is_token_char(char c)
{
	return g_ascii_isalnum(c) || (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* Headers that would change what an answer means are ours alone. */
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

static GByteArray *read_file(int dir, const char *name, size_t max)
{
	int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return NULL;
	GByteArray *out = read_all(fd, max);
	int saved = errno;
	close(fd);
	errno = saved;
	return out;
}

static bool open_ca(struct credentials *c, const char *path, GError **error)
{
	GByteArray *pem = read_file(AT_FDCWD, path, CA_MAX);
	if (pem == NULL) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "CA file %s: %s", path,
		            g_strerror(errno));
		return false;
	}
	c->ca = g_byte_array_free_to_bytes(pem);
	gsize size;
	const char *text = g_bytes_get_data(c->ca, &size);
	if (text == NULL || memmem(text, size, "-----BEGIN ", 11) == NULL) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "CA file %s: no PEM certificate in it",
		            path);
		return false;
	}
	return true;
}

static bool open_token(struct credentials *c, const char *path, GError **error)
{
	g_autofree char *folder = g_path_get_dirname(path);
	c->token_shown = g_strdup(path);
	c->token_name = g_path_get_basename(path);
	c->token_dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (c->token_dir < 0) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "token file %s: %s", path,
		            g_strerror(errno));
		return false;
	}
	return true;
}

static int open_netrc(void)
{
	g_autofree char *path = g_build_filename(g_get_home_dir(), ".netrc", NULL);
	return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
}

struct credentials *credentials_new(char *user, char *password,
                                    const struct source_options *options, GError **error)
{
	struct credentials *c = g_new0(struct credentials, 1);
	char *none[] = {NULL};
	bool good = true;
	c->user = user;
	c->password = password;
	c->token_dir = -1;
	c->netrc = options->no_netrc || user != NULL ? -1 : open_netrc();
	c->headers = g_strdupv(options->headers != NULL ? options->headers : none);
	for (char **h = c->headers; good && *h != NULL; h++)
		good = header_check(*h, error);
	if (good && options->ca_file != NULL)
		good = open_ca(c, options->ca_file, error);
	if (good && options->token_file != NULL)
		good = open_token(c, options->token_file, error);
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
	if (c->token_dir >= 0)
		close(c->token_dir);
	if (c->netrc >= 0)
		close(c->netrc);
	secret_free(c->user);
	secret_free(c->password);
	g_strfreev(c->headers);
	g_free(c->token_name);
	g_free(c->token_shown);
	g_clear_pointer(&c->ca, g_bytes_unref);
	g_free(c);
}

static bool token_refused(const struct credentials *c, GError **error, const char *why)
{
	g_set_error(error, FETCH_ERROR, FETCH_DENIED, "token file %s: %s", c->token_shown, why);
	return false;
}

static bool token_check(const struct credentials *c, GByteArray *text, GError **error)
{
	while (text->len > 0 && strchr(" \t\r\n", text->data[text->len - 1]) != NULL)
		g_byte_array_set_size(text, text->len - 1);
	if (text->len == 0)
		return token_refused(c, error, "it is empty");
	for (guint i = 0; i < text->len; i++)
		if (text->data[i] <= 0x20 || text->data[i] >= 0x7f)
			return token_refused(c, error, "a byte in it that no token has");
	return true;
}

char *credentials_token(const struct credentials *c, GError **error)
{
	g_autoptr(GByteArray) text = read_file(c->token_dir, c->token_name, TOKEN_MAX);
	if (text == NULL) {
		token_refused(c, error, g_strerror(errno));
		return NULL;
	}
	if (!token_check(c, text, error))
		return NULL;
	return g_strndup((const char *)text->data, text->len);
}
