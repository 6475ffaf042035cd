"""A decoder and a Mamba in plain PyTorch, with the tensor names of Hugging Face's checkpoints."""
import math

import torch
from torch import nn
from torch.nn import functional as F


class RMSNorm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x, theta):
    """RoPE on [.., time, head_dim]: dimension i turns with i + head_dim / 2."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2])[:, None] * theta ** (-torch.arange(half) / half)[None]
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        width, d = c["hidden_size"], c["head_dim"]
        self.q_proj = nn.Linear(width, c["num_attention_heads"] * d, bias=False)
        self.k_proj = nn.Linear(width, c["num_key_value_heads"] * d, bias=False)
        self.v_proj = nn.Linear(width, c["num_key_value_heads"] * d, bias=False)
        self.o_proj = nn.Linear(c["num_attention_heads"] * d, width, bias=False)

    def forward(self, x):
        b, t, _ = x.shape
        heads, groups, d = self.c["num_attention_heads"], self.c["num_key_value_heads"], self.c["head_dim"]
        q = rotate(self.q_proj(x).view(b, t, heads, d).transpose(1, 2), self.c["rope_theta"])
        k = rotate(self.k_proj(x).view(b, t, groups, d).transpose(1, 2), self.c["rope_theta"])
        v = self.v_proj(x).view(b, t, groups, d).transpose(1, 2)
        k, v = (y.repeat_interleave(heads // groups, dim=1) for y in (k, v))
        score = q @ k.transpose(-1, -2) / math.sqrt(d)
        future = torch.ones(t, t, dtype=torch.bool).triu(1)
        out = score.masked_fill(future, -torch.inf).softmax(-1) @ v
        return self.o_proj(out.transpose(1, 2).reshape(b, t, heads * d))


class MLP(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.up_proj = nn.Linear(c["hidden_size"], c["intermediate_size"], bias=False)
        self.down_proj = nn.Linear(c["intermediate_size"], c["hidden_size"], bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class DecoderLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn = Attention(c)
        self.mlp = MLP(c)
        self.input_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class DecoderBody(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = embedding(c)
        self.layers = nn.ModuleList(DecoderLayer(c) for _ in range(c["num_hidden_layers"]))
        self.norm = RMSNorm(c["hidden_size"], c["rms_norm_eps"])


def embedding(c):
    table = nn.Embedding(c["vocab_size"], c["hidden_size"])
    nn.init.normal_(table.weight, std=.05)  # it is the head as well
    return table


class Decoder(nn.Module):
    """`LlamaForCausalLM` with tied embeddings."""

    def __init__(self, c):
        super().__init__()
        self.model = DecoderBody(c)

    def forward(self, ids):
        x = self.model.embed_tokens(ids)
        for layer in self.model.layers:
            x = layer(x)
        return self.model.norm(x) @ self.model.embed_tokens.weight.T


class Mixer(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, inner, state, rank = (c[k] for k in ("hidden_size", "intermediate_size", "state_size", "time_step_rank"))
        self.rank, self.state = rank, state
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, c["conv_kernel"], groups=inner, padding=c["conv_kernel"] - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * state, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        self.out_proj = nn.Linear(inner, width, bias=False)
        self.A_log = nn.Parameter(torch.arange(1, state + 1).float().log().repeat(inner, 1))
        self.D = nn.Parameter(torch.ones(inner))
        step = torch.exp(torch.rand(inner) * math.log(100) + math.log(.001))
        with torch.no_grad():
            self.dt_proj.bias.copy_(step + torch.log(-torch.expm1(-step)))  # softplus(bias) = step

    def forward(self, u):
        x, z = self.in_proj(u).chunk(2, -1)
        x = F.silu(self.conv1d(x.transpose(1, 2))[..., :u.shape[1]].transpose(1, 2))
        dt, b, c = self.x_proj(x).split([self.rank, self.state, self.state], -1)
        dt = F.softplus(self.dt_proj(dt))
        decay = torch.exp(dt[..., None] * -torch.exp(self.A_log))
        drive = (dt * x)[..., None] * b[:, :, None]
        h, y = torch.zeros_like(drive[:, 0]), []
        for decay_t, drive_t, c_t in zip(decay.unbind(1), drive.unbind(1), c.unbind(1)):
            h = decay_t * h + drive_t
            y.append((h @ c_t[..., None])[..., 0])
        return self.out_proj((torch.stack(y, 1) + x * self.D) * F.silu(z))


class MambaLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = RMSNorm(c["hidden_size"], c["layer_norm_epsilon"])
        self.mixer = Mixer(c)

    def forward(self, x):
        return x + self.mixer(self.norm(x))


class MambaBody(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embeddings = embedding(c)
        self.layers = nn.ModuleList(MambaLayer(c) for _ in range(c["num_hidden_layers"]))
        self.norm_f = RMSNorm(c["hidden_size"], c["layer_norm_epsilon"])


class Mamba(nn.Module):
    """`MambaForCausalLM` with tied embeddings."""

    def __init__(self, c):
        super().__init__()
        self.backbone = MambaBody(c)

    def forward(self, ids):
        x = self.backbone.embeddings(ids)
        for layer in self.backbone.layers:
            x = layer(x)
        return self.backbone.norm_f(x) @ self.backbone.embeddings.weight.T
