/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Copyright the lacunafs authors */

/* The answer to {"verb": "attach", …}: an object of plain values.
 * Source: RFC 8259, without arrays and nested objects, which no such answer has */
#pragma once

/* 0: attached, *inherited is set; else the -errno of the refusal: the one it
 * names, or that of a daemon without handlers. -EPROTO: malformed. */
int reply_parse(const char *line, int *inherited);
