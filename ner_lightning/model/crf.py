"""Linear-chain CRF: legal transitions, likelihood, Viterbi, marginals; always fp32."""

import torch
from torch import Tensor, nn

ILLEGAL = float("-inf")


class CRF(nn.Module):
    """A linear-chain CRF whose parameters and initial values are pytorch-crf's."""

    def __init__(
        self,
        num_tags: int,
        legal_starts: Tensor | None = None,
        legal_transitions: Tensor | None = None,
        legal_ends: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.start_transitions = nn.Parameter(torch.empty(num_tags).uniform_(-0.1, 0.1))
        self.end_transitions = nn.Parameter(torch.empty(num_tags).uniform_(-0.1, 0.1))
        self.transitions = nn.Parameter(torch.empty(num_tags, num_tags).uniform_(-0.1, 0.1))
        yes = torch.ones(num_tags, num_tags, dtype=torch.bool)
        starts = yes[0] if legal_starts is None else legal_starts
        moves = yes if legal_transitions is None else legal_transitions
        ends = yes[0] if legal_ends is None else legal_ends
        self.register_buffer("start_ban", ~starts, persistent=False)
        self.register_buffer("move_ban", ~moves, persistent=False)
        self.register_buffer("end_ban", ~ends, persistent=False)

    def _scores(self) -> tuple[Tensor, Tensor, Tensor]:
        return (
            self.start_transitions.masked_fill(self.start_ban, -1e4),
            self.transitions.masked_fill(self.move_ban, -1e4),
            self.end_transitions.masked_fill(self.end_ban, -1e4),
        )

    def log_likelihood(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        with torch.autocast(emissions.device.type, enabled=False):
            emissions = emissions.float()
            start, move, end = self._scores()
            real = mask.float()
            last = mask.sum(1) - 1
            gold = (emissions.gather(2, tags.unsqueeze(2)).squeeze(2) * real).sum(1)
            gold = gold + start[tags[:, 0]] + end[tags.gather(1, last.unsqueeze(1)).squeeze(1)]
            gold = gold + (move[tags[:, :-1], tags[:, 1:]] * real[:, 1:]).sum(1)
            alpha = start + emissions[:, 0]
            for t in range(1, emissions.shape[1]):
                new = torch.logsumexp(alpha.unsqueeze(2) + move, 1) + emissions[:, t]
                alpha = torch.where(mask[:, t, None], new, alpha)
            return gold - torch.logsumexp(alpha + end, 1)

    def decode(self, emissions: Tensor, mask: Tensor) -> Tensor:
        start, move, end = self._scores()
        return viterbi(emissions.float(), mask, start, move, end)

    def segment_log_probs(
        self, emissions: Tensor, mask: Tensor, sentence: Tensor, start: Tensor, end: Tensor,
        first: Tensor, inner: Tensor, not_next: Tensor,
    ) -> Tensor:
        e = emissions.float()
        s, move, stop = self._scores()
        B, W, C = e.shape
        alpha = [s + e[:, 0]]
        for t in range(1, W):
            new = torch.logsumexp(alpha[-1].unsqueeze(2) + move, 1) + e[:, t]
            alpha.append(torch.where(mask[:, t, None], new, alpha[-1]))
        beta = [stop.expand(B, C)]
        for t in range(W - 1, 0, -1):
            new = torch.logsumexp(move + (e[:, t] + beta[-1]).unsqueeze(1), 2)
            beta.append(torch.where(mask[:, t, None], new, beta[-1]))
        beta.reverse()
        a, b = torch.stack(alpha, 1), torch.stack(beta, 1)
        log_z = torch.logsumexp(a[:, -1] + stop, 1)
        steps = e + move.diagonal()
        sums = nn.functional.pad(steps.cumsum(1), (0, 0, 1, 0))
        enter = nn.functional.one_hot  # noqa: F841
        score = a[sentence, start, first]
        more = end - start > 1
        inside = e[sentence, (start + 1).clamp(max=W - 1), inner] + move[first, inner]
        rest = sums[sentence, end, inner] - sums[sentence, (start + 2).clamp(max=W), inner]
        score = score + torch.where(more, inside + torch.where(end - start > 2, rest, 0.0), 0.0)
        tag = torch.where(more, inner, first)
        at_end = end >= mask.sum(1)[sentence]
        place = end.clamp(max=W - 1)
        nxt = move[tag] + e[sentence, place] + b[sentence, place]
        nxt = nxt.scatter(1, not_next.unsqueeze(1), ILLEGAL)
        tail = torch.where(at_end, stop[tag], torch.logsumexp(nxt, 1))
        return score + tail - log_z[sentence]


def viterbi(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    device = emissions.device
    e, m = emissions.detach().float().cpu(), mask.cpu()
    start, transitions, end = (x.detach().float().cpu() for x in (start, transitions, end))
    B, W, _ = e.shape
    score = start + e[:, 0]
    back = []
    for t in range(1, W):
        best, where = (score.unsqueeze(2) + transitions).max(1)
        back.append(where)
        score = torch.where(m[:, t, None], best + e[:, t], score)
    tag = (score + end).argmax(1)
    out = torch.zeros(B, W, dtype=torch.long)
    for t in range(W - 1, -1, -1):
        out[:, t] = torch.where(m[:, t], tag, 0)
        if t:
            tag = torch.where(m[:, t], back[t - 1].gather(1, tag.unsqueeze(1)).squeeze(1), tag)
    return out.to(device)
