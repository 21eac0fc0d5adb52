/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include "fuse/base/address.h"
#include "fuse/cli/option.h"

struct unit {
	const char *suffix; /* the first is that of a number without one */
	uint64_t factor;
};

static const struct unit byte_units[] = {
        {"", 1}, {"K", 1024}, {"M", 1024 * 1024}, {"G", UINT64_C(1) << 30}, {NULL}};
static const struct unit ms_units[] = {{"", 1000},   {"ms", 1},      {"s", 1000},
                                       {"m", 60000}, {"h", 3600000}, {NULL}};
static const struct unit no_units[] = {{"", 1}, {NULL}};
/* Of min_free, beside a number of bytes */
#define SPARE_PERCENT (UINT64_C(1) << 62)
#define SPARE_AUTO (UINT64_C(1) << 63)

enum option_type {
	SIZE,
	SPARE,
	CHUNK,
	TIME,
	TTL,
	COUNT,
	RETRIES,
	MODE,
	ID,
	SWITCH,
	AUTO,
	AUTH,
	ALLOW,
	SHARED,
	LOST,
	OVERLAYS,
	OWNER,
	ZONE, /* texts: see rule_apply() */
	ADDRESS,
	PLACE,
	FLAG /* without a value */
};

static const struct rule {
	const char *name;
	enum option_type type;
	size_t field;
	uint64_t min, max, otherwise;
	const char *expects;
} rules[] = {
#define FIELD(f) offsetof(struct settings, f)
        {"chunk_size", CHUNK, FIELD(chunk_shift), 4096, 4 << 20, 65536,
         "a power of two from 4K to 4M"},
        {"readahead", SIZE, FIELD(readahead_max), 0, UINT64_C(1) << 30, 32 << 20,
         "a size from 0 to 1G"},
        {"prefetch", SIZE, FIELD(prefetch_bytes), 1 << 20, UINT64_C(64) << 30, 64 << 20,
         "a size from 1M to 64G"},
        {"quota", SIZE, FIELD(quota), 1 << 20, UINT64_C(1) << 60, 0, "a size from 1M up"},
        {"min_free", SPARE, FIELD(min_free), 0, SPARE_AUTO, SPARE_AUTO,
         "auto, a size, or a percentage from 0% to 99%"},
        {"connect_timeout", TIME, FIELD(source_options.connect_ms), 10, 3600000, 5000,
         "a time from 10ms to 1h"},
        {"stall_timeout", TIME, FIELD(source_options.stall_ms), 10, 3600000, 10000,
         "a time from 10ms to 1h"},
        {"wait_timeout", TIME, FIELD(wait_ms), 10, 86400000, 30000, "a time from 10ms to 24h"},
        {"listing_ttl", TTL, FIELD(listing_ttl_ms), 0, UINT64_C(2592000000), 300000,
         "a time from 0 to 720h, or never"},
        {"mirror_retry", TIME, FIELD(source_options.mirror_retry_ms), 10, 3600000, 10000,
         "a time from 10ms to 1h"},
        {"mirror_takeover", TTL, FIELD(source_options.mirror_takeover_ms), 1, UINT64_C(2592000000),
         900000, "a time from 1ms to 720h, or never"},
        {"mirror_credentials", SHARED, FIELD(source_options.mirror_credentials), 0, 1, 0,
         "own or shared"},
        {"index_bytes", SIZE, FIELD(source_options.index_bytes), 4096, UINT64_C(1) << 30, 256 << 20,
         "a size from 4K to 1G"},
        {"index_names", COUNT, FIELD(source_options.index_names), 1, 16000000, 2000000,
         "a number from 1 to 16000000"},
        {"index_memory", SIZE, FIELD(source_options.index_memory), 16 << 20, UINT64_C(64) << 30,
         1 << 30, "a size from 16M to 64G"},
        {"index_timezone", ZONE, FIELD(source_options.index_timezone), 0, 1, 0,
         "a time zone, as Europe/Berlin or +09:00"},
        {"retries", RETRIES, FIELD(source_options.retries), 0, 100, 3, "a number from 0 to 100"},
        {"connections", COUNT, FIELD(source_options.connections), 1, 256, 16,
         "a number from 1 to 256"},
        {"filemode", MODE, FIELD(source_options.file_mode), 1, 07777, 0755,
         "octal permissions from 1 to 7777"},
        {"dirmode", MODE, FIELD(source_options.dir_mode), 1, 07777, 0755,
         "octal permissions from 1 to 7777"},
        {"uid", ID, FIELD(source_options.uid), 0, UINT32_MAX - 1, 0, "a numeric user id"},
        {"gid", ID, FIELD(source_options.gid), 0, UINT32_MAX - 1, 0, "a numeric group id"},
        {"owner", OWNER, FIELD(source_options.own), 0, 1, 0, "source or me"},
        {"passthrough", AUTO, FIELD(passthrough), 0, 1, 1, "auto or no"},
        {"overlays", OVERLAYS, FIELD(overlays), 0, OVERLAYS_AUTO, OVERLAYS_AUTO, "auto, 0, 1 or 2"},
        {"keeper", AUTO, FIELD(keeper), 0, 1, 1, "auto or no"},
        {"confine", AUTO, FIELD(confine), 0, 1, 1, "auto or no"},
        {"exec_writes", ALLOW, FIELD(exec_writes), 0, 1, 0, "deny or allow"},
        {"handler_lost", LOST, FIELD(handler_lost), 0, 2, HANDLER_LOST_WAIT,
         "wait, deny or source"},
        {"handler_timeout", TIME, FIELD(handler_ms), 10, 86400000, 60000,
         "a time from 10ms to 24h"},
        {"netrc", SWITCH, FIELD(source_options.no_netrc), 0, 1, 0, "yes or no"},
        {"cookies", SWITCH, FIELD(source_options.no_cookies), 0, 1, 0, "yes or no"},
        {"auth", AUTH, FIELD(source_options.digest), 0, 1, 0, "basic or digest"},
        {"etag", SWITCH, FIELD(source_options.no_etag), 0, 1, 0, "yes or no"},
        {"metrics", ADDRESS, FIELD(metrics), 0, 1, 0,
         "unix:PATH (absolute), 127.0.0.1:PORT or [::1]:PORT"},
        {"index", SWITCH, FIELD(source_options.no_index), 0, 1, 0, "yes or no"},
        {"verify", SWITCH, FIELD(source_options.no_verify), 0, 1, 0, "yes or no"},
        {"verify_key", PLACE, FIELD(verify_key), 0, 1, 0, "a file of public keys"},
        {"allow_rollback", FLAG, FIELD(source_options.allow_rollback), 0, 1, 0, "no value"},
        {"threads", COUNT, FIELD(threads), 0, 64, 0, "a number from 0 to 64"},
        {"offline", FLAG, FIELD(source_options.offline), 0, 1, 0, "no value"},
        {"inode32", FLAG, FIELD(inode32), 0, 1, 0, "no value"},
        {"end_epoch", FLAG, FIELD(end_epoch), 0, 1, 0, "no value"},
#undef FIELD
};

static bool is_text(const struct rule *r)
{
	return r->type >= ZONE && r->type < FLAG;
}

static bool number_parse(const char *text, unsigned base, const struct unit *units, uint64_t *out)
{
	uint64_t value = 0;
	const char *p = text;
	for (; g_ascii_isdigit(*p); p++) {
		unsigned digit = (unsigned)(*p - '0');
		if (digit >= base || value > (UINT64_MAX - digit) / base)
			return false;
		value = value * base + digit;
	}
	if (p == text)
		return false;
	for (; units->suffix; units++) {
		if (g_ascii_strcasecmp(p, units->suffix) != 0)
			continue;
		if (value > UINT64_MAX / units->factor)
			return false;
		*out = value * units->factor;
		return true;
	}
	return false;
}

static bool spare_parse(const char *text, uint64_t *out)
{
	static const struct unit percent[] = {{"%", 1}, {NULL}};
	uint64_t n;
	*out = SPARE_AUTO;
	if (strcmp(text, "auto") == 0)
		return true;
	if (!g_str_has_suffix(text, "%"))
		return number_parse(text, 10, byte_units, out) && *out <= UINT64_C(1) << 60;
	if (!number_parse(text, 10, percent, &n) || n > 99)
		return false;
	*out = SPARE_PERCENT | n;
	return true;
}

static bool lost_parse(const char *text, uint64_t *out)
{
	static const char *const words[] = {
	        [HANDLER_LOST_WAIT] = "wait",
	        [HANDLER_LOST_DENY] = "deny",
	        [HANDLER_LOST_SOURCE] = "source",
	};
	for (size_t n = 0; n < G_N_ELEMENTS(words); n++)
		if (strcmp(text, words[n]) == 0) {
			*out = n;
			return true;
		}
	return false;
}

static bool word_parse(const char *text, const char *one, const char *zero, uint64_t *out)
{
	bool is_one = strcmp(text, one) == 0;
	if (!is_one && strcmp(text, zero) != 0)
		return false;
	*out = is_one;
	return true;
}

static bool zone_is_known(const char *text)
{
	g_autoptr(GTimeZone) zone = text[0] ? g_time_zone_new_identifier(text) : NULL;
	return zone;
}

/* The number that `text` stands for, in the unit of the range. */
static bool value_parse(const struct rule *r, const char *text, uint64_t *out)
{
	switch (r->type) {
	case SPARE:
		return spare_parse(text, out);
	case SIZE:
	case CHUNK:
		return number_parse(text, 10, byte_units, out);
	case TIME:
		return number_parse(text, 10, ms_units, out);
	case TTL:
		if (strcmp(text, "never") == 0) {
			*out = r->max; /* stored as UINT_MAX below */
			return true;
		}
		return number_parse(text, 10, ms_units, out) && *out < r->max;
	case ZONE:
		*out = 1;
		return zone_is_known(text);
	case ADDRESS:
		*out = 1;
		return address_parse(text, &(struct address){0}, NULL);
	case PLACE:
		*out = 1;
		return text[0] != '\0';
	case MODE:
		return number_parse(text, 8, no_units, out);
	case AUTO:
		return word_parse(text, "auto", "no", out);
	case AUTH:
		return word_parse(text, "digest", "basic", out);
	case ALLOW:
		return word_parse(text, "allow", "deny", out);
	case SHARED:
		return word_parse(text, "shared", "own", out);
	case LOST:
		return lost_parse(text, out);
	case OVERLAYS:
		*out = OVERLAYS_AUTO;
		return strcmp(text, "auto") == 0 ||
		       (number_parse(text, 10, no_units, out) && *out < OVERLAYS_AUTO);
	case OWNER:
		return word_parse(text, "me", "source", out);
	case SWITCH:
		return word_parse(text, "no", "yes", out);
	default:
		return number_parse(text, 10, no_units, out);
	}
}

static void value_store(struct settings *s, const struct rule *r, uint64_t value)
{
	void *field = (char *)s + r->field;
	unsigned number = (unsigned)value;
	if (is_text(r))
		return;
	switch (r->type) {
	case SIZE:
		*(uint64_t *)field = value;
		return;
	case SPARE:
		*(struct min_free *)field = (struct min_free){
		        .automatic = value == SPARE_AUTO,
		        .percent = value & SPARE_PERCENT ? number : 0,
		        .bytes = value & SPARE_PERCENT ? 0 : value,
		};
		return;
	case SWITCH:
	case AUTO:
	case ALLOW:
	case SHARED:
	case OWNER:
	case AUTH:
	case FLAG:
		*(bool *)field = value != 0;
		return;
	case CHUNK:
		number = (unsigned)__builtin_ctzll(value);
		break;
	case RETRIES: /* the source takes 0 for its default */
		number = value ? number : UINT_MAX;
		break;
	case TTL:
		number = value == r->max ? UINT_MAX : number;
		break;
	default:
		break;
	}
	*(unsigned *)field = number;
}

void option_defaults(struct settings *s)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++)
		value_store(s, &rules[i], rules[i].otherwise);
	s->source_options.uid = getuid();
	s->source_options.gid = getgid();
}

static bool rule_apply(struct settings *s, const struct rule *r, const char *text, GError **error)
{
	uint64_t value = 1;
	bool fits = r->type == FLAG ? !text : text && value_parse(r, text, &value);
	fits = fits && value >= r->min && value <= r->max;
	if (fits && r->type == CHUNK)
		fits = (value & (value - 1)) == 0;
	if (!fits) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "-o %s%s%s: expects %s", r->name,
		            text ? "=" : "", text ? text : "", r->expects);
		return false;
	}
	if (is_text(r)) {
		char **field = (char **)((char *)s + r->field);
		g_free(*field);
		*field = g_strdup(text);
		return true;
	}
	value_store(s, r, value);
	return true;
}

/* Options of fstab(5) for mount(8) and systemd, which pass all of them on. */
static bool for_mount8(const char *option)
{
	static const char *const words[] = {
	        "defaults",      "auto",  "noauto",   "nofail",     "_netdev",  "user",
	        "nouser",        "users", "owner",    "group",      "relatime", "norelatime",
	        "nostrictatime", "atime", "diratime", "nolazytime", "nomand",   "noiversion",
	        "silent",        "loud",  NULL};
	return g_strv_contains(words, option) || g_str_has_prefix(option, "x-") ||
	       g_str_has_prefix(option, "comment=");
}

/* `raw` as it was written, since libfuse takes the backslashes off itself. */
static bool one_parse(struct settings *s, const char *raw, GError **error)
{
	static const char *const set_here[] = {"subtype", "fd",       "rootmode",
	                                       "user_id", "group_id", NULL};
	g_autofree char *plain = g_strdup(raw);
	char *to = plain;
	for (const char *from = raw; *from; from++) {
		if (*from == '\\' && from[1])
			from++;
		*to++ = *from;
	}
	*to = '\0';
	char *value = strchr(plain, '=');
	if (value)
		*value++ = '\0';
	for (unsigned i = 0; i < G_N_ELEMENTS(rules); i++)
		if (strcmp(rules[i].name, plain) == 0 && !for_mount8(raw)) {
			s->owner_named |= rules[i].type == ID;
			return rule_apply(s, &rules[i], value, error);
		}
	if (g_strv_contains(set_here, plain)) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "-o %s: is set by the mount", plain);
		return false;
	}
	bool store = strcmp(plain, "store") == 0, mirror = strcmp(plain, "mirror") == 0;
	if ((store || mirror) && (!value || !*value)) {
		g_set_error(error, FETCH_ERROR, FETCH_USAGE, "-o %s=: expects a %s", plain,
		            store ? "directory" : "source");
		return false;
	}
	if (store) {
		g_free(s->store);
		s->store = g_strdup(value);
	}
	if (mirror)
		g_ptr_array_add(s->mirrors, g_strdup(value));
	if (store || mirror || for_mount8(raw))
		return true;
	if (strcmp(plain, "auto_unmount") == 0) {
		g_set_error(
		        error, FETCH_ERROR, FETCH_USAGE,
		        "-o auto_unmount: not supported; the next mount at the same place removes "
		        "a dead one");
		return false;
	}
	if (strcmp(plain, "debug") == 0)
		s->debug = true;
	g_ptr_array_add(s->fuse_options, g_strdup(raw));
	return true;
}

bool option_parse(struct settings *s, const char *list, GError **error)
{
	g_autoptr(GString) one = g_string_new(NULL);
	for (const char *p = list;; p++) {
		if (*p == '\\' && p[1]) {
			g_string_append_c(one, *p++);
			g_string_append_c(one, *p);
		} else if (*p && *p != ',') {
			g_string_append_c(one, *p);
		} else {
			if (one->len && !one_parse(s, one->str, error))
				return false;
			g_string_truncate(one, 0);
			if (!*p)
				return true;
		}
	}
}
