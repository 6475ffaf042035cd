/**
 * @file model_private.h
 * What an icd_model consists of; for the files of this folder.
 */
#ifndef ICD_MODEL_MODEL_PRIVATE_H
#define ICD_MODEL_MODEL_PRIVATE_H

#include "base/json.h"
#include "base/mem.h"
#include <icd/model.h>

/**
 * How the checkpoint holds a tensor that it has in another way: as part `part` of the
 * `parts` that lie side by side in a tensor [in x out], where ours is [out / parts x in]
 * (of one dimension: as these elements of it).
 */
typedef struct icd_home {
    const char *tensor; /**< as the checkpoint spells it, one text for all parts; NULL:
                             the slot is a tensor of the checkpoint as it is */
    int64_t part, parts;
} icd_home;

/** A tensor of a model, and what this model owns of it. */
typedef struct icd_slot {
    icd_tensor tensor;     /**< name: without the "bert." prefix */
    const char *file_name; /**< as the checkpoint spells it */
    icd_home home;
    void *owned; /**< tensor.data where this model changed it; NULL: a view */
} icd_slot;

/** An axis and where it stands. */
typedef struct icd_axis_slot {
    icd_axis axis;
    icd_perm
        *order; /**< from the checkpoint's order to today's; NULL: the checkpoint's */
    /** Axes inside the blocks of this one: `members` of each of its n indices begin at
     * axis `member` (heads: head.0.qk, head.0.v, head.1.qk, ...). */
    int64_t member, members;
} icd_axis_slot;

/**
 * A model that was opened owns its file and the names and bindings (`arena`); one made by
 * apply or replace borrows all that from its source, but for bindings that moved.
 */
struct icd_model {
    icd_arena *arena;
    icd_safetensors *file;
    const char *arch, *name, *path;
    bool synthetic;  /**< metadata `icd.synthetic` */
    const char *map; /**< text of the axis map it was opened with; NULL: none */
    icd_model_config config;
    icd_slot *slot; /**< sorted by tensor.name */
    int64_t slots;
    icd_axis_slot *axis;
    int64_t axes, axes_capacity;
    struct icd_packed_slot *packed; /**< by tensor name; of an opened model */
    int64_t packs;
};

/** Sorts the slots by name. @return ICD_OK | ICD_EDATA two have the same */
icd_status icd_i_model_sort(icd_ctx *ctx, icd_model *model);

icd_slot *icd_i_model_slot(const icd_model *model, const char *name);

/**
 * Writes a folder as icd_model_write does, with other tensors in the place of the slots.
 * @param key [in] one more entry of the weights' metadata; NULL: none
 */
icd_status icd_i_model_write_as(icd_ctx *ctx, const icd_model *model,
                                const icd_tensor *tensor, int64_t count, const char *key,
                                const char *value, const char *source, const char *dir);

/** Where icd_model_write puts the orders applied, and the key of the weights' metadata
 * under which the hash of that file stands. */
#define ICD_ORDERS_FILE "icd.axes.json"
#define ICD_ORDERS_KEY  "icd.axes"

/** The axis map that a folder was written with. */
#define ICD_MAP_FILE "icd.map.yaml"

/** Replaces the axes of a model by those that a user declares (docs/formats.md). */
icd_status icd_i_axis_map_read(icd_ctx *ctx, icd_model *model, const char *path);
icd_status icd_i_axis_map_parse(icd_ctx *ctx, icd_model *model, const char *text,
                                size_t size, const char *place);

/** Hash of a file's bytes, as text. */
icd_status icd_i_orders_hash(icd_ctx *ctx, const char *path, char out[17]);

/** The index of an axis; -1: unknown. */
int64_t icd_i_model_find_axis(const icd_model *model, const char *name);

/**
 * Checks that a tensor exists, is floating point and has exactly this shape.
 * @return ICD_OK | ICD_EDATA "place: tensor NAME: found [..], expected [..]"
 */
icd_status icd_i_model_check(icd_ctx *ctx, const icd_model *model, const char *name,
                             int32_t dims, const int64_t *shape);

/** Bounds of the sizes in config.json: products of three of them fit into an int64_t. */
enum { ICD_MOST_LAYERS = 10000, ICD_MOST_SIZE = 1 << 20 };

/** Reads the sizes that every transformer's config.json has: layers, hidden, inner,
 * heads, vocabulary and positions, each at least 1. */
icd_status icd_i_transformer_sizes(icd_ctx *ctx, const char *place, const json_t *root,
                                   icd_model_config *config);

/** Whether a key of config.json is there and not null. */
bool icd_i_config_given(const json_t *root, const char *key);

/** ICD_EUNSUPPORTED "place: KEY: found 'FOUND', this version knows EXPECTED". */
icd_status icd_i_model_unsupported(icd_ctx *ctx, const char *place, const char *key,
                                   const char *found, const char *expected);

/** Says of a tensor that this version does not know its use, and that `residual` is
 * therefore not offered: it may read the residual stream. */
void icd_i_model_warn_unknown(icd_ctx *ctx, const icd_model *model, const char *name);

/** True when `is_known` holds of every tensor; each of the others is warned of. */
bool icd_i_model_knows_all(icd_ctx *ctx, const icd_model *model,
                           bool (*is_known)(const icd_model *model, const char *name));

/** Lets the bindings of the axes inside the blocks of `axis` follow when p moves these.
 */
icd_status icd_i_axis_move_members(icd_ctx *ctx, icd_model *model,
                                   const icd_axis_slot *axis, const icd_perm *p);

/** Appends an axis whose bindings the arena holds; `name` is copied. */
icd_status icd_i_model_add_axis(icd_ctx *ctx, icd_model *model, const char *name,
                                int64_t n, const icd_binding *binding, int64_t bindings);

/** Room for a list of bindings that grows. */
typedef struct icd_binding_list {
    icd_binding *binding;
    int64_t count, capacity;
} icd_binding_list;

/** Binds `dim` of a tensor whose name is printed from `fmt`; the name lives in the arena.
 */
icd_status icd_i_model_bind(icd_ctx *ctx, icd_model *model, icd_binding_list *list,
                            int32_t dim, int64_t offset, int64_t block, const char *fmt,
                            ...) ICD_PRINTF(7, 8);

/** Adds an axis of the listed bindings, and empties the list. */
icd_status icd_i_model_take_axis(icd_ctx *ctx, icd_model *model, const char *name,
                                 int64_t n, icd_binding_list *list);

/** Reads config.json (`root`, from the file `place`), checks the tensors, and makes the
 * axes of one architecture; one row of the table in model.c. */
typedef icd_status icd_arch_open_fn(icd_ctx *ctx, icd_model *model, const char *place,
                                    const json_t *root);
icd_arch_open_fn icd_i_bert_open, icd_i_gpt2_open, icd_i_llama_open, icd_i_mamba_open;

/** The same for a block file: sizes come from the tensors. */
icd_status icd_i_ffn_open(icd_ctx *ctx, icd_model *model);

/**
 * A model like `source` that shares everything but the orders: all tensors are views.
 */
icd_status icd_i_model_view(icd_ctx *ctx, const icd_model *source, icd_model **out);

/** Makes a tensor of this model writable: its data becomes a copy, once. */
icd_status icd_i_slot_own(icd_ctx *ctx, icd_slot *slot);

#endif
