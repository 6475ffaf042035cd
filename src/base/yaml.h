/**
 * @file yaml.h
 * YAML (and JSON, which is read by the same parser) as a tree whose nodes know their
 * line.
 */
#ifndef ICD_BASE_YAML_H
#define ICD_BASE_YAML_H

#include "base/mem.h"

typedef enum icd_node_kind { ICD_NODE_SCALAR, ICD_NODE_LIST, ICD_NODE_MAP } icd_node_kind;

typedef struct icd_node icd_node;
struct icd_node {
    icd_node_kind kind;
    const char *key;      /**< member name where the parent is a map; else NULL */
    const char *text;     /**< SCALAR; NULL for a plain null (~, null, empty) */
    bool quoted;          /**< SCALAR that was quoted: a string, whatever it looks like */
    icd_node *child;      /**< first child of LIST and MAP */
    icd_node *next;       /**< next sibling */
    int32_t line, column; /**< 1-based; of the key where the parent is a map */
};

/**
 * Parses one document. Anchors and aliases, tags, several documents, duplicate keys,
 * complex keys and nesting deeper than 64 are errors; all memory is the arena's.
 * @return ICD_OK (*root NULL for an empty document) | ICD_EDATA "place:line:column: ..."
 * | ICD_ENOMEM
 */
icd_status icd_i_yaml_parse(icd_ctx *ctx, icd_arena *arena, const char *text, size_t size,
                            const char *place, icd_node **root);

/** Whether plain text is YAML 1.2's null: "", ~, null, Null, NULL. */
bool icd_i_yaml_is_null(const char *text);

/** The member of a map; NULL where there is none or `map` is no map. */
const icd_node *icd_i_node_get(const icd_node *map, const char *key);

#endif
